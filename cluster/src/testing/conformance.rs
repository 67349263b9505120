//! What every directory must do, whichever it is.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::directory::{
    Answer, Compare, Condition, Directory, DirectoryError, Operation, Relation, Revision,
    TRANSACTION_BYTES_MAX, TRANSACTION_OPERATIONS_MAX, Transaction, VALUE_BYTES_MAX, Watch, WatchBatch,
    WatchError, WatchEvent,
};

/// How long a watch may take to deliver what has happened.
const DELIVERY_MAX: Duration = Duration::from_secs(5);
/// Entries of a long list.
const ENTRIES: usize = 700;

/// Holds a directory against the contract of [`Directory`], under keys that begin with `prefix`.
///
/// `ttl` is the shortest lease to work with; the suite takes several of them. It compacts the directory's
/// history.
///
/// # Panics
/// The directory breaks the contract.
pub async fn conformance(directory: Arc<dyn Directory>, prefix: &str, ttl: Duration) {
    let directory = &*directory;
    let under = |name: &str| format!("{prefix}/{name}/");
    entries_know_their_revisions(directory, &under("revisions")).await;
    a_range_is_sorted_and_holds_its_prefix_alone(directory, &under("range")).await;
    bounds_are_kept(directory, &under("bounds")).await;
    compares_hold_as_they_say(directory, &under("compares")).await;
    a_transaction_is_one_change_or_none(directory, &under("transaction")).await;
    a_transaction_reads_what_stood_before_it(directory, &under("before")).await;
    only_one_of_many_creates(directory, &under("race")).await;
    a_lease_lives_while_it_is_kept_and_takes_its_keys_along(directory, &under("lease"), ttl).await;
    revoking_deletes_all_keys_of_a_lease_in_one_change(directory, &under("revoke"), ttl).await;
    a_key_put_again_leaves_its_old_lease(directory, &under("moved"), ttl).await;
    a_watch_delivers_every_change_in_order_from_its_revision_on(directory, &under("watch")).await;
    a_watch_tells_its_progress_when_asked(directory, &under("progress")).await;
    a_watch_from_a_compacted_revision_ends(directory, &under("compaction")).await;
    list_and_watch_never_miss_or_double(directory, &under("model")).await;
}

async fn entries_know_their_revisions(directory: &dyn Directory, prefix: &str) {
    let key = format!("{prefix}a");
    let before = directory.get(&key).await.unwrap();
    assert_eq!(before.entry, None);
    let first = directory.put(&key, b"1".to_vec(), None).await.unwrap();
    assert!(first > before.revision);
    let second = directory.put(&key, b"2".to_vec(), None).await.unwrap();
    assert!(second > first);
    let found = directory.get(&key).await.unwrap();
    assert!(found.revision >= second);
    let entry = found.entry.unwrap();
    assert_eq!((entry.create_revision, entry.mod_revision), (first, second));
    assert_eq!((entry.value, entry.lease), (b"2".to_vec(), None));
    assert!(directory.delete(&key).await.unwrap());
    assert!(!directory.delete(&key).await.unwrap());
    let third = directory.put(&key, b"3".to_vec(), None).await.unwrap();
    let entry = directory.get(&key).await.unwrap().entry.unwrap();
    assert_eq!((entry.create_revision, entry.mod_revision), (third, third));
}

async fn a_range_is_sorted_and_holds_its_prefix_alone(directory: &dyn Directory, prefix: &str) {
    for name in ["b/2", "a", "b/1", "b", "c", "b0"] {
        directory.put(&format!("{prefix}{name}"), name.as_bytes().to_vec(), None).await.unwrap();
    }
    let listing = directory.range(&format!("{prefix}b/")).await.unwrap();
    let values: Vec<_> = listing.entries.iter().map(|entry| entry.value.as_slice()).collect();
    assert_eq!(values, [b"b/1", b"b/2"]);
    assert!(listing.entries.iter().all(|entry| entry.mod_revision <= listing.revision));
    assert!(directory.range(&format!("{prefix}nothing")).await.unwrap().entries.is_empty());

    // More than an implementation may want to read at once.
    let many = |n: usize| format!("{prefix}many/{n:04}");
    for first in (0..ENTRIES).step_by(TRANSACTION_OPERATIONS_MAX) {
        let puts = (first..ENTRIES.min(first + TRANSACTION_OPERATIONS_MAX)).map(|n| Operation::Put {
            key: many(n),
            value: vec![],
            lease: None,
        });
        let transaction = Transaction { then: puts.collect(), ..Transaction::default() };
        directory.commit(transaction).await.unwrap();
    }
    let listing = directory.range(&format!("{prefix}many/")).await.unwrap();
    let expected = (0..ENTRIES).map(many);
    assert!(listing.entries.iter().map(|entry| entry.key.as_str()).eq(expected));
}

async fn bounds_are_kept(directory: &dyn Directory, prefix: &str) {
    let key = format!("{prefix}k");
    assert_eq!(directory.put("", vec![], None).await, Err(DirectoryError::Key { bytes: 0 }));
    let long = "k".repeat(crate::directory::KEY_BYTES_MAX + 1);
    assert_eq!(directory.get(&long).await, Err(DirectoryError::Key { bytes: long.len() }));
    assert!(directory.put(&key, vec![0; VALUE_BYTES_MAX], None).await.is_ok());
    let bytes = VALUE_BYTES_MAX + 1;
    assert_eq!(directory.put(&key, vec![0; bytes], None).await, Err(DirectoryError::ValueTooLong { bytes }));
    assert_eq!(directory.grant(Duration::ZERO).await, Err(DirectoryError::LeaseTtl { ttl_ms: 0 }));
    let gets = |count| Transaction {
        then: vec![Operation::Get { key: key.clone() }; count],
        ..Transaction::default()
    };
    assert!(directory.commit(gets(TRANSACTION_OPERATIONS_MAX)).await.is_ok());
    let puts = |count: u8| Transaction {
        then: (0..count)
            .map(|n| Operation::Put {
                key: format!("{prefix}{n:02}"),
                value: vec![0; VALUE_BYTES_MAX],
                lease: None,
            })
            .collect(),
        ..Transaction::default()
    };
    let most = TRANSACTION_BYTES_MAX / (VALUE_BYTES_MAX + prefix.len() + 2);
    let most = u8::try_from(most).expect("few of the longest values fit");
    assert!(directory.commit(puts(most)).await.is_ok());
    let bytes = usize::from(most + 1) * (VALUE_BYTES_MAX + prefix.len() + 2);
    assert_eq!(directory.commit(puts(most + 1)).await, Err(DirectoryError::TransactionTooLarge { bytes }));
    let operations = TRANSACTION_OPERATIONS_MAX + 1;
    let refused = directory.commit(gets(operations)).await;
    assert_eq!(refused, Err(DirectoryError::TransactionTooLong { operations }));
}

async fn compares_hold_as_they_say(directory: &dyn Directory, prefix: &str) {
    let (here, gone) = (format!("{prefix}here"), format!("{prefix}gone"));
    let created = directory.put(&here, b"m".to_vec(), None).await.unwrap();
    let changed = directory.put(&here, b"m".to_vec(), None).await.unwrap();
    let value = |bytes: &[u8]| Condition::Value(bytes.to_vec());
    for (key, relation, condition, expected) in [
        (&here, Relation::Equal, value(b"m"), true),
        (&here, Relation::NotEqual, value(b"m"), false),
        (&here, Relation::Less, value(b"n"), true),
        (&here, Relation::Greater, value(b"n"), false),
        (&gone, Relation::Equal, value(b""), false),
        (&gone, Relation::NotEqual, value(b"m"), false),
        (&here, Relation::Equal, Condition::ModRevision(changed), true),
        (&here, Relation::Equal, Condition::ModRevision(created), false),
        (&here, Relation::Greater, Condition::ModRevision(created), true),
        (&here, Relation::Equal, Condition::CreateRevision(created), true),
        (&here, Relation::Less, Condition::CreateRevision(changed), true),
        (&gone, Relation::Equal, Condition::CreateRevision(Revision::ABSENT), true),
        (&gone, Relation::Equal, Condition::ModRevision(Revision::ABSENT), true),
        (&gone, Relation::NotEqual, Condition::CreateRevision(Revision::ABSENT), false),
    ] {
        let compare = Compare { key: key.clone(), relation, condition };
        let said = format!("{compare:?}");
        let transaction = Transaction { compares: vec![compare], ..Transaction::default() };
        assert_eq!(directory.commit(transaction).await.unwrap().succeeded, expected, "{said}");
    }
}

async fn a_transaction_is_one_change_or_none(directory: &dyn Directory, prefix: &str) {
    let (a, b) = (format!("{prefix}a"), format!("{prefix}b"));
    let put = |key: &String, lease| Operation::Put { key: key.clone(), value: b"x".to_vec(), lease };
    let both = Transaction { then: vec![put(&a, None), put(&b, None)], ..Transaction::default() };
    let outcome = directory.commit(both).await.unwrap();
    assert_eq!(outcome.answers, [Answer::Put, Answer::Put]);
    for key in [&a, &b] {
        assert_eq!(directory.get(key).await.unwrap().entry.unwrap().mod_revision, outcome.revision);
    }

    let failed = Transaction {
        compares: vec![Compare::absent(&a), Compare::absent(&format!("{prefix}c"))],
        then: vec![Operation::Delete { key: a.clone() }],
        otherwise: vec![Operation::Get { key: b.clone() }, Operation::Delete { key: format!("{prefix}c") }],
    };
    let outcome = directory.commit(failed).await.unwrap();
    assert!(!outcome.succeeded);
    assert_eq!(outcome.answers.get(1), Some(&Answer::Deleted(false)));
    assert_eq!(outcome.first_read().unwrap().key, b);

    let lost = directory.grant(Duration::from_secs(60)).await.unwrap().id;
    directory.revoke(lost).await.unwrap();
    let torn = Transaction {
        then: vec![Operation::Delete { key: a.clone() }, put(&b, Some(lost))],
        ..Transaction::default()
    };
    assert_eq!(directory.commit(torn).await, Err(DirectoryError::LeaseLost(lost)));
    assert!(directory.get(&a).await.unwrap().entry.is_some(), "half a transaction was done");
    let twice = Transaction { then: vec![put(&a, None), put(&a, None)], ..Transaction::default() };
    assert_eq!(directory.commit(twice).await, Err(DirectoryError::DuplicateKey));
}

async fn a_transaction_reads_what_stood_before_it(directory: &dyn Directory, prefix: &str) {
    let (old, new) = (format!("{prefix}old"), format!("{prefix}new"));
    directory.put(&old, b"1".to_vec(), None).await.unwrap();
    let put = |key: &String| Operation::Put { key: key.clone(), value: b"2".to_vec(), lease: None };
    let get = |key: &String| Operation::Get { key: key.clone() };
    let operations = vec![put(&old), get(&old), put(&new), get(&new)];
    let transaction = Transaction { then: operations, ..Transaction::default() };
    let answers = directory.commit(transaction).await.unwrap().answers;
    let [Answer::Put, Answer::Got(Some(stood)), Answer::Put, Answer::Got(None)] = &answers[..] else {
        panic!("{answers:?}");
    };
    assert_eq!(stood.value, b"1");
}

async fn only_one_of_many_creates(directory: &dyn Directory, prefix: &str) {
    let key = format!("{prefix}seat");
    let attempts = (0..32_u8).map(|n| directory.commit(Transaction::create(&key, vec![n], None)));
    let outcomes = futures_util::future::join_all(attempts).await;
    let winners: Vec<_> =
        (0_u8..).zip(&outcomes).filter(|(_, outcome)| outcome.as_ref().unwrap().succeeded).collect();
    assert_eq!(winners.len(), 1);
    assert_eq!(directory.get(&key).await.unwrap().entry.unwrap().value, [winners[0].0]);
}

async fn a_lease_lives_while_it_is_kept_and_takes_its_keys_along(
    directory: &dyn Directory,
    prefix: &str,
    ttl: Duration,
) {
    let key = format!("{prefix}k");
    let lease = directory.grant(ttl).await.unwrap();
    assert!(lease.ttl >= ttl);
    let put = directory.put(&key, b"alive".to_vec(), Some(lease.id)).await.unwrap();
    let started = Instant::now();
    while started.elapsed() < lease.ttl * 2 {
        tokio::time::sleep(lease.ttl / 3).await;
        directory.keep_alive(lease.id).await.unwrap();
        assert!(directory.get(&key).await.unwrap().entry.is_some(), "a kept lease ended");
    }
    let mut watch = directory.watch(prefix, put.next()).await.unwrap();
    let batch =
        timeout(lease.ttl + DELIVERY_MAX, watch.next()).await.expect("the end of a lease is told").unwrap();
    assert!(matches!(&batch.events[..], [WatchEvent::Deleted { key: deleted, .. }] if *deleted == key));
    assert_eq!(directory.get(&key).await.unwrap().entry, None);
    assert_eq!(directory.keep_alive(lease.id).await, Err(DirectoryError::LeaseLost(lease.id)));
    assert_eq!(directory.put(&key, vec![], Some(lease.id)).await, Err(DirectoryError::LeaseLost(lease.id)));
}

async fn revoking_deletes_all_keys_of_a_lease_in_one_change(
    directory: &dyn Directory,
    prefix: &str,
    ttl: Duration,
) {
    let lease = directory.grant(ttl).await.unwrap().id;
    let mut last = Revision::ABSENT;
    for name in ["a", "b", "c"] {
        last = directory.put(&format!("{prefix}{name}"), vec![], Some(lease)).await.unwrap();
    }
    let mut watch = directory.watch(prefix, last.next()).await.unwrap();
    directory.revoke(lease).await.unwrap();
    assert_eq!(directory.revoke(lease).await, Err(DirectoryError::LeaseLost(lease)));
    let events = collect(&mut *watch, 3).await;
    let revisions: Vec<_> = events.iter().map(revision_of).collect();
    assert!(revisions.windows(2).all(|pair| pair[0] == pair[1]), "{revisions:?}");
    assert!(directory.range(prefix).await.unwrap().entries.is_empty());
}

async fn a_key_put_again_leaves_its_old_lease(directory: &dyn Directory, prefix: &str, ttl: Duration) {
    let key = format!("{prefix}k");
    let (one, two) = (directory.grant(ttl).await.unwrap().id, directory.grant(ttl * 20).await.unwrap().id);
    directory.put(&key, b"1".to_vec(), Some(one)).await.unwrap();
    directory.put(&key, b"2".to_vec(), Some(two)).await.unwrap();
    directory.revoke(one).await.unwrap();
    assert_eq!(directory.get(&key).await.unwrap().entry.unwrap().lease, Some(two));
    directory.put(&key, b"3".to_vec(), None).await.unwrap();
    directory.revoke(two).await.unwrap();
    assert_eq!(directory.get(&key).await.unwrap().entry.unwrap().value, b"3");
}

async fn a_watch_delivers_every_change_in_order_from_its_revision_on(
    directory: &dyn Directory,
    prefix: &str,
) {
    let key = |name: u8| format!("{prefix}{name}");
    let old = directory.put(&key(0), b"old".to_vec(), None).await.unwrap();
    let first = directory.put(&key(1), b"1".to_vec(), None).await.unwrap();
    directory.put(&format!("{}x", prefix.trim_end_matches('/')), b"elsewhere".to_vec(), None).await.unwrap();
    let mut watch = directory.watch(prefix, first).await.unwrap();
    directory.delete(&key(1)).await.unwrap();
    directory.put(&key(2), b"2".to_vec(), None).await.unwrap();
    let events = collect(&mut *watch, 3).await;
    assert!(
        matches!(&events[0], WatchEvent::Put(entry) if entry.key == key(1) && entry.mod_revision == first)
    );
    assert!(matches!(&events[1], WatchEvent::Deleted { key: gone, .. } if *gone == key(1)));
    assert!(matches!(&events[2], WatchEvent::Put(entry) if entry.key == key(2) && entry.value == b"2"));
    assert!(events.iter().all(|event| revision_of(event) > old));
}

async fn a_watch_tells_its_progress_when_asked(directory: &dyn Directory, prefix: &str) {
    let now = directory.put(&format!("{prefix}k"), vec![], None).await.unwrap();
    let mut watch = directory.watch(prefix, now.next()).await.unwrap();
    assert!(timeout(Duration::from_millis(300), watch.next()).await.is_err(), "a quiet watch spoke unasked");
    watch.request_progress().await.unwrap();
    let batch = deliver(&mut *watch).await.unwrap();
    assert!(batch.events.is_empty());
    assert!(batch.revision >= now);
}

async fn a_watch_from_a_compacted_revision_ends(directory: &dyn Directory, prefix: &str) {
    let key = format!("{prefix}k");
    let first = directory.put(&key, b"1".to_vec(), None).await.unwrap();
    directory.put(&key, b"2".to_vec(), None).await.unwrap();
    let third = directory.put(&key, b"3".to_vec(), None).await.unwrap();
    directory.compact(third).await.unwrap();
    assert_eq!(directory.compact(first).await, Err(DirectoryError::CompactRevision(first)));
    let far = Revision(third.0 + 1_000_000);
    assert_eq!(directory.compact(far).await, Err(DirectoryError::CompactRevision(far)));
    let mut watch = directory.watch(prefix, first).await.unwrap();
    for _ in 0..2 {
        assert_eq!(deliver(&mut *watch).await, Err(WatchError::Compacted { compacted: third }));
    }
    assert_eq!(directory.get(&key).await.unwrap().entry.unwrap().value, b"3", "compaction lost what stands");
    let mut watch = directory.watch(prefix, third.next()).await.unwrap();
    directory.delete(&key).await.unwrap();
    assert_eq!(collect(&mut *watch, 1).await.len(), 1);
}

/// Changes go on while a list is read and a watch is opened: list plus events must be what is stored at the end.
async fn list_and_watch_never_miss_or_double(directory: &dyn Directory, prefix: &str) {
    let change = |n: u32| async move {
        let key = format!("{prefix}{}", n % 7);
        if n.is_multiple_of(3) {
            directory.delete(&key).await.unwrap();
        } else {
            directory.put(&key, n.to_le_bytes().to_vec(), None).await.unwrap();
        }
    };
    for n in 0..20 {
        change(n).await;
    }
    let listing = directory.range(prefix).await.unwrap();
    for n in 20..40 {
        change(n).await;
    }
    let mut watch = directory.watch(prefix, listing.revision.next()).await.unwrap();
    for n in 40..60 {
        change(n).await;
    }
    let expected = directory.range(prefix).await.unwrap();
    let mut view: std::collections::BTreeMap<_, _> =
        listing.entries.into_iter().map(|entry| (entry.key.clone(), entry)).collect();
    let mut last = listing.revision;
    let newest = expected.entries.iter().map(|entry| entry.mod_revision).max().unwrap();
    while last < newest {
        for event in deliver(&mut *watch).await.unwrap().events {
            assert!(revision_of(&event) > last, "an event came twice or out of order");
            last = revision_of(&event);
            match event {
                WatchEvent::Put(entry) => drop(view.insert(entry.key.clone(), entry)),
                WatchEvent::Deleted { key, .. } => drop(view.remove(&key)),
            }
        }
    }
    assert_eq!(view.into_values().collect::<Vec<_>>(), expected.entries);
}

async fn deliver(watch: &mut dyn Watch) -> Result<WatchBatch, WatchError> {
    timeout(DELIVERY_MAX, watch.next()).await.expect("a watch delivers in time")
}

async fn collect(watch: &mut dyn Watch, count: usize) -> Vec<WatchEvent> {
    let mut events = Vec::new();
    while events.len() < count {
        events.extend(deliver(watch).await.unwrap().events);
    }
    assert_eq!(events.len(), count, "{events:?}");
    events
}

fn revision_of(event: &WatchEvent) -> Revision {
    match event {
        WatchEvent::Put(entry) => entry.mod_revision,
        WatchEvent::Deleted { revision, .. } => *revision,
    }
}
