//! The calls of the directory as etcd's calls.

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use etcd_client::proto::PbTxnOpResponse;
use etcd_client::{
    Client, Compare as EtcdCompare, CompareOp, GetOptions, KeyValue, KvClient, PutOptions, ResponseHeader,
    SortOrder, SortTarget, Txn, TxnOp, TxnResponse,
};

use super::watch::EtcdWatch;
use super::{EtcdDirectory, Failure, revision, signed};
use crate::directory::{
    Answer, Compare, Condition, Directory, DirectoryError, Entry, Found, LEASE_TTL_MAX, Lease, LeaseId,
    Listing, Operation, Relation, Revision, Transaction, TransactionOutcome, VALUE_BYTES_MAX, Watch,
    check_key, check_value,
};

/// Entries of a list that are asked for at once.
const PAGE_ENTRIES: usize = 256;
/// Most bytes of an answer: a page, or what a transaction reads, of the largest entries.
const ANSWER_BYTES_MAX: usize = 2 * PAGE_ENTRIES * VALUE_BYTES_MAX;
/// How often a list whose revision is compacted between two pages is begun again.
const LISTS_MAX: usize = 3;

impl EtcdDirectory {
    /// The first of these leases that does not exist; the answer to a put says only that one does not.
    async fn lost(&self, leases: impl IntoIterator<Item = LeaseId>) -> DirectoryError {
        for lease in leases {
            let id = signed(lease.0);
            let asked =
                self.call(|client| async move { client.lease_client().time_to_live(id, None).await }).await;
            match asked {
                Ok(answer) if answer.ttl() > 0 => {}
                Ok(_) | Err(Failure::NotFound) => return DirectoryError::LeaseLost(lease),
                Err(failure) => return failure.into(),
            }
        }
        DirectoryError::Unavailable
    }

    /// One page of a list, at a revision or, for the first, at the newest.
    async fn page(&self, from: Vec<u8>, prefix: &str, at: Option<Revision>) -> Result<Page, Failure> {
        let mut options = GetOptions::new()
            .with_range(end_of(prefix))
            .with_limit(i64::try_from(PAGE_ENTRIES).expect("a page is short"))
            .with_sort(SortTarget::Key, SortOrder::Ascend);
        if let Some(Revision(at)) = at {
            options = options.with_revision(signed(at));
        }
        let answer = self.call(|client| async move { kv(&client).get(from, Some(options)).await });
        let answer = answer.await?;
        let next = answer.kvs().last().filter(|_| answer.more()).map(|last| [last.key(), b"\0"].concat());
        Ok(Page {
            entries: answer.kvs().iter().filter_map(entry).collect(),
            revision: at.unwrap_or_else(|| revision_of(answer.header())),
            next,
        })
    }

    async fn list(&self, prefix: &str) -> Result<Listing, Failure> {
        let mut page = self.page(prefix.as_bytes().to_vec(), prefix, None).await?;
        let (mut entries, revision) = (page.entries, page.revision);
        while let Some(from) = page.next {
            page = self.page(from, prefix, Some(revision)).await?;
            entries.append(&mut page.entries);
        }
        Ok(Listing { entries, revision })
    }
}

struct Page {
    entries: Vec<Entry>,
    revision: Revision,
    next: Option<Vec<u8>>,
}

#[async_trait]
impl Directory for EtcdDirectory {
    fn address(&self) -> String {
        self.config.urls.join(",")
    }

    async fn grant(&self, ttl: Duration) -> Result<Lease, DirectoryError> {
        if ttl.is_zero() || ttl > LEASE_TTL_MAX {
            return Err(DirectoryError::LeaseTtl {
                ttl_ms: u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX),
            });
        }
        let seconds = signed(ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0));
        let granted =
            self.call(|client| async move { client.lease_client().grant(seconds, None).await }).await?;
        match (u64::try_from(granted.id()), u64::try_from(granted.ttl())) {
            (Ok(id), Ok(seconds)) if granted.error().is_empty() => {
                Ok(Lease { id: LeaseId(id), ttl: Duration::from_secs(seconds) })
            }
            _ => Err(DirectoryError::Unavailable),
        }
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<Duration, DirectoryError> {
        let kept = self.call(|client| async move {
            // The client swallows the first answer with the time to live in it, so there is a second.
            let (mut keeper, mut answers) = client.lease_client().keep_alive(signed(lease.0)).await?;
            keeper.keep_alive().await?;
            answers.message().await
        });
        match kept.await {
            Ok(Some(answer)) => match u64::try_from(answer.ttl()) {
                Ok(seconds @ 1..) => Ok(Duration::from_secs(seconds)),
                _ => Err(DirectoryError::LeaseLost(lease)),
            },
            Ok(None) => Err(DirectoryError::Unavailable),
            Err(Failure::LeaseGone | Failure::NotFound) => Err(self.lost([lease]).await),
            Err(failure) => Err(failure.into()),
        }
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), DirectoryError> {
        match self.call(|client| async move { client.lease_client().revoke(signed(lease.0)).await }).await {
            Ok(_) => Ok(()),
            Err(Failure::NotFound) => Err(DirectoryError::LeaseLost(lease)),
            Err(failure) => Err(failure.into()),
        }
    }

    async fn get(&self, key: &str) -> Result<Found, DirectoryError> {
        check_key(key)?;
        let answer = self.call(|client| async move { kv(&client).get(key, None).await }).await?;
        Ok(Found { entry: answer.kvs().first().and_then(entry), revision: revision_of(answer.header()) })
    }

    async fn range(&self, prefix: &str) -> Result<Listing, DirectoryError> {
        check_key(prefix)?;
        for _ in 0..LISTS_MAX {
            match self.list(prefix).await {
                Ok(listing) => return Ok(listing),
                Err(Failure::OutOfRange) => {}
                Err(failure) => return Err(failure.into()),
            }
        }
        Err(DirectoryError::Unavailable)
    }

    async fn put(
        &self,
        key: &str,
        value: Vec<u8>,
        lease: Option<LeaseId>,
    ) -> Result<Revision, DirectoryError> {
        check_key(key)?;
        check_value(&value)?;
        let put = self.call(|client| async move { kv(&client).put(key, value, put_under(lease)).await });
        match put.await {
            Ok(answer) => Ok(revision_of(answer.header())),
            Err(Failure::NotFound) => Err(self.lost(lease).await),
            Err(failure) => Err(failure.into()),
        }
    }

    async fn delete(&self, key: &str) -> Result<bool, DirectoryError> {
        check_key(key)?;
        let answer = self.call(|client| async move { kv(&client).delete(key, None).await }).await?;
        Ok(answer.deleted() > 0)
    }

    async fn commit(&self, transaction: Transaction) -> Result<TransactionOutcome, DirectoryError> {
        transaction.check()?;
        let leases = leases_of(&transaction);
        let (then, otherwise) = (Branch::of(transaction.then), Branch::of(transaction.otherwise));
        let compares: Vec<_> = transaction.compares.into_iter().map(compare).collect();
        let request = Txn::new().when(compares).and_then(then.operations).or_else(otherwise.operations);
        let answer = match self.call(|client| async move { kv(&client).txn(request).await }).await {
            Ok(answer) => answer,
            Err(Failure::NotFound) => return Err(self.lost(leases).await),
            Err(failure) => return Err(failure.into()),
        };
        let succeeded = answer.succeeded();
        let places = if succeeded { then.places } else { otherwise.places };
        let answers = answers(&answer, &places).ok_or(DirectoryError::Unavailable)?;
        Ok(TransactionOutcome { succeeded, revision: revision_of(answer.header()), answers })
    }

    async fn watch(&self, prefix: &str, from: Revision) -> Result<Box<dyn Watch>, DirectoryError> {
        check_key(prefix)?;
        Ok(Box::new(EtcdWatch::open(self, prefix, from).await?))
    }

    async fn compact(&self, revision: Revision) -> Result<(), DirectoryError> {
        match self.call(|client| async move { kv(&client).compact(signed(revision.0), None).await }).await {
            Ok(_) => Ok(()),
            Err(Failure::OutOfRange) => Err(DirectoryError::CompactRevision(revision)),
            Err(failure) => Err(failure.into()),
        }
    }
}

fn kv(client: &Client) -> KvClient {
    client.kv_client().max_decoding_message_size(ANSWER_BYTES_MAX)
}

/// The first key after all that begin with `prefix`.
pub(super) fn end_of(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    let last = end.last_mut().expect("a prefix is not empty");
    // UTF-8 has no byte of 255.
    *last = last.saturating_add(1);
    end
}

pub(super) fn revision_of(header: Option<&ResponseHeader>) -> Revision {
    revision(header.map_or(0, ResponseHeader::revision))
}

/// An entry; nothing for a key that is no text, which is none of ours.
pub(super) fn entry(stored: &KeyValue) -> Option<Entry> {
    Some(Entry {
        key: stored.key_str().ok()?.to_owned(),
        value: stored.value().to_vec(),
        create_revision: revision(stored.create_revision()),
        mod_revision: revision(stored.mod_revision()),
        lease: u64::try_from(stored.lease()).ok().filter(|id| *id > 0).map(LeaseId),
    })
}

fn put_under(lease: Option<LeaseId>) -> Option<PutOptions> {
    lease.map(|lease| PutOptions::new().with_lease(signed(lease.0)))
}

fn compare(compare: Compare) -> EtcdCompare {
    let relation = match compare.relation {
        Relation::Equal => CompareOp::Equal,
        Relation::NotEqual => CompareOp::NotEqual,
        Relation::Less => CompareOp::Less,
        Relation::Greater => CompareOp::Greater,
    };
    match compare.condition {
        Condition::Value(value) => EtcdCompare::value(compare.key, relation, value),
        Condition::ModRevision(at) => EtcdCompare::mod_revision(compare.key, relation, signed(at.0)),
        Condition::CreateRevision(at) => EtcdCompare::create_revision(compare.key, relation, signed(at.0)),
    }
}

/// The leases that a transaction puts under, each once.
fn leases_of(transaction: &Transaction) -> BTreeSet<LeaseId> {
    let operations = transaction.then.iter().chain(&transaction.otherwise);
    let of = |operation: &Operation| match operation {
        Operation::Put { lease, .. } => *lease,
        Operation::Delete { .. } | Operation::Get { .. } => None,
    };
    operations.filter_map(of).collect()
}

/// One branch of a transaction. Its reads come first, since etcd lets them see what the transaction has changed
/// before them; `places` says where each operation stood.
struct Branch {
    operations: Vec<TxnOp>,
    places: Vec<usize>,
}

impl Branch {
    fn of(operations: Vec<Operation>) -> Self {
        let mut placed: Vec<_> = operations.into_iter().enumerate().collect();
        placed.sort_by_key(|(_, operation)| !matches!(operation, Operation::Get { .. }));
        let (places, operations) =
            placed.into_iter().map(|(place, operation)| (place, op(operation))).unzip();
        Self { operations, places }
    }
}

fn op(operation: Operation) -> TxnOp {
    match operation {
        Operation::Put { key, value, lease } => TxnOp::put(key, value, put_under(lease)),
        Operation::Delete { key } => TxnOp::delete(key, None),
        Operation::Get { key } => TxnOp::get(key, None),
    }
}

/// The answers in the order of the operations; nothing if etcd has answered something else.
fn answers(answer: &TxnResponse, places: &[usize]) -> Option<Vec<Answer>> {
    let responses = &answer.0.responses;
    if responses.len() != places.len() {
        return None;
    }
    let mut answers = Vec::with_capacity(places.len());
    for (place, response) in places.iter().zip(responses) {
        let answer = match response.response.as_ref()? {
            PbTxnOpResponse::ResponsePut(_) => Answer::Put,
            PbTxnOpResponse::ResponseDeleteRange(deleted) => Answer::Deleted(deleted.deleted > 0),
            PbTxnOpResponse::ResponseRange(read) => {
                Answer::Got(read.kvs.first().and_then(|stored| entry(stored.into())))
            }
            PbTxnOpResponse::ResponseTxn(_) => return None,
        };
        answers.push((*place, answer));
    }
    answers.sort_by_key(|(place, _)| *place);
    Some(answers.into_iter().map(|(_, answer)| answer).collect())
}
