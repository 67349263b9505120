//! The kept code of the control messages is what `proto/control.proto` generates.

use std::path::Path;

#[test]
fn kept_code_is_what_the_proto_generates() {
    let room = Path::new(env!("CARGO_MANIFEST_DIR"));
    let descriptors = protox::compile([room.join("proto/control.proto")], [room.join("proto")]).unwrap();
    let out = tempfile::tempdir().unwrap();
    tonic_prost_build::configure().out_dir(out.path()).compile_fds(descriptors).unwrap();
    let generated = std::fs::read_to_string(out.path().join("tiltyard.control.v1.rs")).unwrap();

    let kept = room.join("src/control/proto.rs");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&kept, &generated).unwrap();
    }
    assert!(
        std::fs::read_to_string(&kept).unwrap() == generated,
        "src/control/proto.rs is not what proto/control.proto generates; make it again with \
         BLESS=1 cargo test -p tiltyard-cluster --test proto"
    );
}
