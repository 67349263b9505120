//! An etcd that asks who comes: by password, by certificate.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use tiltyard_cluster::directory::etcd::{EtcdConfig, EtcdTls};
use tiltyard_cluster::directory::{Directory as _, DirectoryError, EtcdDirectory};

use crate::server::{Server, answers};
use crate::skip;

fn run(program: &str, arguments: &str, folder: &Path) {
    let ran = Command::new(program)
        .args(arguments.split(' '))
        .env("ETCDCTL_API", "3")
        .current_dir(folder)
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(ran.status.success(), "{program} {arguments}: {}", String::from_utf8_lossy(&ran.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_gets_in_by_password_also_after_etcd_forgot_its_tokens() {
    let name = "a_user_gets_in_by_password_also_after_etcd_forgot_its_tokens";
    let Some(mut server) = Server::start(1).await else { return skip(name, "no etcd") };
    let folder = tempfile::tempdir().unwrap();
    for command in ["role add root", "user add root:wonder", "user grant-role root root", "auth enable"] {
        run("etcdctl", &format!("--endpoints {} {command}", server.urls()), folder.path());
    }
    let with = |password: Option<&str>| {
        let user = password.map(|password| ("root".to_owned(), password.to_owned()));
        EtcdDirectory::new(EtcdConfig { urls: vec![server.urls()], user, tls: None }).unwrap()
    };
    let (good, wrong, nobody) = (with(Some("wonder")), with(Some("wander")), with(None));
    good.put("/k", b"v".to_vec(), None).await.unwrap();
    for refused in [wrong, nobody] {
        assert_eq!(refused.put("/k", b"w".to_vec(), None).await, Err(DirectoryError::Unavailable));
    }
    server.kill(0);
    server.restart(0);
    answers(&good).await;
    assert_eq!(good.get("/k").await.unwrap().entry.unwrap().value, b"v");
}

#[tokio::test(flavor = "multi_thread")]
async fn members_and_we_show_certificates_to_each_other() {
    let name = "members_and_we_show_certificates_to_each_other";
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let new_key = "req -nodes -newkey ec -pkeyopt ec_paramgen_curve:prime256v1";
    for authority in ["authority", "other"] {
        let subject =
            format!("-x509 -days 2 -subj /CN={authority} -keyout {authority}.key -out {authority}.pem");
        run("openssl", &format!("{new_key} {subject}"), here);
    }
    std::fs::write(here.join("names"), "subjectAltName=IP:127.0.0.1,DNS:localhost\n").unwrap();
    for holder in ["member", "node"] {
        run("openssl", &format!("{new_key} -subj /CN={holder} -keyout {holder}.key -out {holder}.csr"), here);
        let sign = "x509 -req -days 2 -CA authority.pem -CAkey authority.key -CAcreateserial -extfile names";
        run("openssl", &format!("{sign} -in {holder}.csr -out {holder}.pem"), here);
    }
    let path = |file: &str| here.join(file).to_str().unwrap().to_owned();
    let arguments = [
        format!("--cert-file={}", path("member.pem")),
        format!("--key-file={}", path("member.key")),
        format!("--trusted-ca-file={}", path("authority.pem")),
        "--client-cert-auth".to_owned(),
    ];
    let Some(mut server) = Server::with(1, "https", &arguments) else { return skip(name, "no etcd") };
    server.restart(0);
    let read = |file: &str| std::fs::read(here.join(file)).unwrap();
    let with = |authority: &str, holder: Option<&str>| {
        let identity = holder.map(|holder| (read(&format!("{holder}.pem")), read(&format!("{holder}.key"))));
        let tls = Some(EtcdTls { authority: read(authority), identity });
        EtcdDirectory::new(EtcdConfig { urls: vec![server.urls()], user: None, tls }).unwrap()
    };
    let good = Arc::new(with("authority.pem", Some("node")));
    answers(&good).await;
    good.put("/k", b"v".to_vec(), None).await.unwrap();
    let strangers = [
        ("one who shows no certificate", with("authority.pem", None)),
        ("a member that another has signed", with("other.pem", Some("node"))),
    ];
    for (who, stranger) in strangers {
        assert_eq!(stranger.get("/k").await, Err(DirectoryError::Unavailable), "{who}");
    }
}
