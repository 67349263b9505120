//! Bit streams, lowest bit first.

/// Appends bits to a byte buffer.
pub(super) struct BitWriter<'a> {
    out: &'a mut Vec<u8>,
    held: u64,
    bits: u32,
}

impl<'a> BitWriter<'a> {
    pub(super) fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out, held: 0, bits: 0 }
    }

    /// Writes the lowest `count` bits of `value`, at most 64.
    #[inline]
    pub(super) fn put(&mut self, value: u64, count: u32) {
        if count > 32 {
            self.put_short(value & 0xffff_ffff, 32);
            self.put_short(value >> 32, count - 32);
        } else {
            self.put_short(value, count);
        }
    }

    #[inline]
    fn put_short(&mut self, value: u64, count: u32) {
        let value = value & ((1_u64 << count) - 1);
        self.held |= value << self.bits;
        self.bits += count;
        if self.bits >= 32 {
            self.out.extend_from_slice(&(self.held as u32).to_le_bytes());
            self.held >>= 32;
            self.bits -= 32;
        }
    }

    /// Writes `value` in the first class that holds it.
    #[inline(always)]
    pub(super) fn put_class(&mut self, value: u64, [a, b, c, d]: [u32; 4]) {
        // Counted and not searched for: which class comes next nobody can predict.
        let class = u32::from(value >> a != 0) + u32::from(value >> b != 0) + u32::from(value >> c != 0);
        let width = [a, b, c, d][class as usize & 3];
        if width <= 30 {
            self.put_short(u64::from(class) | value << 2, 2 + width);
        } else {
            self.put_short(u64::from(class), 2);
            self.put(value, width);
        }
    }

    pub(super) fn finish(self) {
        let bytes = self.bits.div_ceil(8) as usize;
        self.out.extend_from_slice(&self.held.to_le_bytes()[..bytes]);
    }
}

/// Reads bits of a stranger.
pub(super) struct BitReader<'a> {
    bytes: &'a [u8],
    held: u64,
    bits: u32,
}

/// The bits ended too early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BitsEnd;

impl<'a> BitReader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, held: 0, bits: 0 }
    }

    /// Reads `count` bits, at most 64.
    #[inline]
    pub(super) fn take(&mut self, count: u32) -> Result<u64, BitsEnd> {
        if count > 32 {
            let low = self.take_short(32)?;
            return Ok(low | self.take_short(count - 32)? << 32);
        }
        self.take_short(count)
    }

    #[inline]
    fn take_short(&mut self, count: u32) -> Result<u64, BitsEnd> {
        while self.bits < count {
            let (word, size) = match self.bytes.split_first_chunk::<4>() {
                Some((word, rest)) => {
                    self.bytes = rest;
                    (u64::from(u32::from_le_bytes(*word)), 32)
                }
                None => {
                    let (byte, rest) = self.bytes.split_first().ok_or(BitsEnd)?;
                    self.bytes = rest;
                    (u64::from(*byte), 8)
                }
            };
            self.held |= word << self.bits;
            self.bits += size;
        }
        let value = self.held & ((1_u64 << count) - 1);
        self.held >>= count;
        self.bits -= count;
        Ok(value)
    }

    #[inline]
    pub(super) fn take_bit(&mut self) -> Result<bool, BitsEnd> {
        Ok(self.take(1)? == 1)
    }

    #[inline]
    pub(super) fn take_class(&mut self, widths: [u32; 4]) -> Result<u64, BitsEnd> {
        let class = self.take(2)? as usize;
        self.take(widths[class & 3])
    }

    /// Whether nothing is left but the filling of the last byte, all zero.
    pub(super) fn is_done(&self) -> bool {
        self.bytes.is_empty() && self.bits < 8 && self.held == 0
    }
}
