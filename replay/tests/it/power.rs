//! The loss of power: of what was written, only what was synced is sure to be there.

use std::io::{self, Read, Seek, SeekFrom, Write};

use tiltyard_replay::{
    Durable, FileWriter, HeaderError, OnDamage, ReadError, Reader, Recording, Settings, Summary, SyncSink,
};

use crate::sample::{Dice, hash, header, read, record, runs};

/// How much of the disk is lost or kept at once.
const SECTOR: usize = 512;

/// A disk with a cache: `synced` is what it holds for sure.
#[derive(Default)]
struct Disk {
    cached: Vec<u8>,
    synced: Vec<u8>,
    at: usize,
}

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let end = self.at + bytes.len();
        self.cached.resize(self.cached.len().max(end), 0);
        self.cached[self.at..end].copy_from_slice(bytes);
        self.at = end;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl SyncSink for Disk {
    fn sync(&mut self) -> io::Result<()> {
        self.synced.clone_from(&self.cached);
        Ok(())
    }

    fn write_ahead(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)?;
        self.at = offset as usize;
        Ok(())
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.cached.truncate(length as usize);
        Ok(())
    }
}

impl Disk {
    /// What is there when the power comes back: of what was not synced nothing, zeros, or some sectors.
    fn after_power_loss(&self, dice: &mut Dice) -> (Vec<u8>, &'static str) {
        let mut left = self.synced.clone();
        match dice.below(3) {
            0 => (left, "nothing"),
            1 => {
                left.resize(left.len().max(self.cached.len()), 0);
                (left, "zeros")
            }
            _ => {
                left.resize(left.len().max(self.cached.len()), 0);
                for (sector, cached) in left.chunks_mut(SECTOR).zip(self.cached.chunks(SECTOR)) {
                    if dice.below(2) == 0 {
                        sector[..cached.len()].copy_from_slice(cached);
                    }
                }
                (left, "sectors")
            }
        }
    }
}

#[test]
fn what_was_synced_survives_the_loss_of_power() {
    let mut dice = Dice::new("what_was_synced_survives_the_loss_of_power");
    let folder = tempfile::tempdir().expect("a folder");
    for _ in 0..runs(300) {
        let path = folder.path().join("battle.tyr");
        let settings = Settings::new(3, 10);
        let mut file = FileWriter::start(Disk::default(), &path, &header(), settings).expect("a good disk");
        for tick in 1..=1 + dice.below(120) as u32 {
            file.writer().append(tick, &record(tick), hash(tick)).expect("a good disk");
            if tick % 3 == 0 {
                file.checkpoint().expect("a good disk");
            }
            if dice.below(10) == 0 {
                file.sync().expect("a good disk");
            }
        }
        let durable: Durable = file.durable();
        let (left, kept) = file.writer().sink().after_power_loss(&mut dice);
        if durable == Durable::default() && read(&left, OnDamage::Stop).is_err() {
            continue;
        }
        let found = read(&left, OnDamage::Stop).expect("the head was synced");
        assert!(!found.complete);
        assert!(found.ticks.len() as u32 >= durable.tick, "{kept}: {} of {durable:?}", found.ticks.len());
        assert!(found.ticks.iter().all(|(tick, bytes)| *bytes == record(*tick)));
        assert!(found.hashes.iter().all(|(tick, found)| *found == hash(*tick)));
        match found.error {
            None => {}
            // A sector that was lost before one that was kept is damage, behind all that was promised.
            Some(ReadError::Damaged { offset, .. }) => assert!(kept == "sectors" && offset >= durable.bytes),
            Some(error) => panic!("{kept}: {error}"),
        }
    }
}

/// Four gibibytes of zeros behind some bytes, and how many of them were read.
struct Zeros {
    front: Vec<u8>,
    at: u64,
    read: u64,
}

const ZEROS: u64 = 4 << 30;

impl Read for Zeros {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let front = self.front.get(self.at as usize..).unwrap_or_default();
        let count = out.len().min(usize::try_from(ZEROS.saturating_sub(self.at)).expect("64 bits"));
        out[..count].fill(0);
        let copied = front.len().min(count);
        out[..copied].copy_from_slice(&front[..copied]);
        self.at += count as u64;
        self.read += count as u64;
        Ok(count)
    }
}

impl Seek for Zeros {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = match to {
            SeekFrom::Start(at) => at,
            SeekFrom::End(_) => ZEROS,
            SeekFrom::Current(_) => self.at,
        };
        Ok(self.at)
    }
}

#[test]
fn four_gibibytes_of_zeros_are_refused_by_their_first_bytes() {
    let zeros = || Zeros { front: Vec::new(), at: 0, read: 0 };
    let refused = ReadError::Header(HeaderError::Magic);
    let mut source = zeros();
    assert_eq!(Reader::open(&mut source, OnDamage::Stop).map(drop), Err(refused));
    assert_eq!(Summary::read(&mut source).map(drop), Err(refused));
    assert_eq!(Recording::open(&mut source).map(drop), Err(refused));
    assert!(source.read <= 4 * (64 << 10), "{} bytes were read", source.read);
    // A magic word alone promises a head of at most its cap.
    let mut claims = tiltyard_replay::MAGIC.to_vec();
    claims.extend_from_slice(&[1, 0, 30, 0]);
    claims.extend_from_slice(&u32::MAX.to_le_bytes());
    let mut source = Zeros { front: claims, ..zeros() };
    assert!(matches!(Summary::read(&mut source), Err(ReadError::Header(_))));
    assert!(source.read <= 4 * (64 << 10), "{} bytes were read", source.read);
}
