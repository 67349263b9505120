//! A forward view of a source: bytes are looked at first and consumed later, in bounded memory.

use std::io::{self, Read};

use crate::format::SYNC;

/// How much is read at once.
const CHUNK_BYTES: usize = 64 << 10;

/// The bytes of a source from the first unconsumed one on.
///
/// Memory grows by what the source delivers, chunk by chunk, never by what a length in it claims.
#[derive(Debug)]
pub(crate) struct Window<R> {
    source: R,
    buffer: Vec<u8>,
    start: usize,
    offset: u64,
    ended: bool,
    hasher: blake3::Hasher,
}

/// Where a search for a sync word came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sought {
    /// One stands at the front.
    Found,
    /// The source ended.
    End,
    /// There is none as far as was asked for.
    TooFar,
}

impl<R: Read> Window<R> {
    /// A view whose first byte stands at `offset` of the file.
    pub(crate) fn new(source: R, offset: u64) -> Self {
        Self { source, buffer: Vec::new(), start: 0, offset, ended: false, hasher: blake3::Hasher::new() }
    }

    pub(crate) fn into_source(self) -> R {
        self.source
    }

    /// Where the first unconsumed byte stands in the file.
    pub(crate) const fn offset(&self) -> u64 {
        self.offset
    }

    /// What is there already.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
    }

    /// Reads until `wanted` bytes are there or the source ends; says whether they are there.
    pub(crate) fn fill(&mut self, wanted: usize) -> io::Result<bool> {
        while self.bytes().len() < wanted && !self.ended {
            if self.start > 0 {
                self.buffer.drain(..self.start);
                self.start = 0;
            }
            let held = self.buffer.len();
            self.buffer.resize(held + CHUNK_BYTES, 0);
            let read = self.source.read(&mut self.buffer[held..]);
            self.buffer.truncate(held + *read.as_ref().unwrap_or(&0).min(&CHUNK_BYTES));
            match read {
                Ok(0) => self.ended = true,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(self.bytes().len() >= wanted)
    }

    /// Leaves `count` bytes behind, which are there.
    pub(crate) fn consume(&mut self, count: usize) {
        let after = self.start + count;
        let consumed = self.buffer.get(self.start..after);
        self.hasher.update(consumed.expect("only bytes that were filled are consumed"));
        self.start = after;
        self.offset += count as u64;
    }

    /// Goes on to the next sync word at or after the first byte, for about `bytes_max` bytes.
    pub(crate) fn seek_sync(&mut self, bytes_max: u64) -> io::Result<Sought> {
        let until = self.offset.saturating_add(bytes_max);
        loop {
            if self.offset > until {
                return Ok(Sought::TooFar);
            }
            let bytes = self.bytes();
            if let Some(at) = bytes.windows(SYNC.len()).position(|window| window == SYNC) {
                self.consume(at);
                return Ok(Sought::Found);
            }
            let seen = bytes.len().saturating_sub(SYNC.len() - 1);
            self.consume(seen);
            if !self.fill(SYNC.len())? {
                let rest = self.bytes().len();
                self.consume(rest);
                return Ok(Sought::End);
            }
        }
    }

    /// blake3 of everything consumed.
    pub(crate) fn consumed_hash(&self) -> [u8; 32] {
        *self.hasher.finalize().as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives one byte a time, every other read interrupted.
    struct Trickle<'a>(&'a [u8], bool);

    impl Read for Trickle<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            self.1 = !self.1;
            if self.1 {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let Some((first, rest)) = self.0.split_first() else { return Ok(0) };
            out[0] = *first;
            self.0 = rest;
            Ok(1)
        }
    }

    #[test]
    fn interrupted_and_short_reads_are_read_on() {
        let mut window = Window::new(Trickle(b"abcdef", false), 10);
        assert!(window.fill(4).expect("no error"));
        assert!(window.bytes().starts_with(b"abcd"));
        window.consume(3);
        assert_eq!(window.offset(), 13);
        assert!(window.fill(3).expect("no error"));
        assert!(!window.fill(4).expect("no error"));
        assert_eq!(window.bytes(), b"def");
    }

    #[test]
    fn sync_words_are_found_across_reads() {
        let bytes = [b"....", &SYNC[..3], &SYNC[..], b"x"].concat();
        let mut window = Window::new(Trickle(&bytes, false), 0);
        assert_eq!(window.seek_sync(100).expect("no error"), Sought::Found);
        assert_eq!(window.offset(), 7);
        window.consume(1);
        assert_eq!(window.seek_sync(100).expect("no error"), Sought::End);
        assert_eq!(window.offset(), 12);
        assert_eq!(window.consumed_hash(), *blake3::hash(&bytes).as_bytes());
    }
}
