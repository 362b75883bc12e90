//! The framing of snappy-java's `SnappyOutputStream`: a header of 16 bytes, then chunks of a
//! big-endian length and a raw snappy block (disk-formats 2.2). It is not the official frame
//! format.

use std::io::{self, Read, Write};

/// Magic, version 1, compatible from version 1.
pub(super) const HEADER: [u8; 16] = *b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01";
/// Block size of snappy-java.
const BLOCK_BYTES: usize = 32 << 10;
/// Writers may choose other block sizes; none chooses one above this.
const MAX_BLOCK_BYTES: usize = 32 << 20;

/// Decompresses such a stream.
pub(super) struct SnappyReader<R> {
    source: R,
    header_read: bool,
    packed: Vec<u8>,
    block: Vec<u8>,
    at: usize,
}

impl<R: Read> SnappyReader<R> {
    pub(super) fn new(source: R) -> SnappyReader<R> {
        SnappyReader { source, header_read: false, packed: Vec::new(), block: Vec::new(), at: 0 }
    }

    /// Decompresses the next block; false at the end of the stream.
    fn next_block(&mut self) -> io::Result<bool> {
        if !self.header_read {
            let mut header = [0; HEADER.len()];
            self.source.read_exact(&mut header)?;
            if header[..8] != HEADER[..8] {
                return Err(bad("the stream does not begin with snappy-java's magic"));
            }
            self.header_read = true;
        }
        let mut length = [0; 4];
        if self.source.read(&mut length[..1])? == 0 {
            return Ok(false);
        }
        self.source.read_exact(&mut length[1..])?;
        let length = u32::from_be_bytes(length) as usize;
        if length > snap::raw::max_compress_len(MAX_BLOCK_BYTES) {
            return Err(bad("a snappy chunk is unreasonably long"));
        }
        // Grows with what is there: a length alone allocates nothing.
        self.packed.clear();
        let got = self.source.by_ref().take(length as u64).read_to_end(&mut self.packed)?;
        if got < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let unpacked =
            snap::raw::decompress_len(&self.packed).map_err(|_| bad("no snappy block"))?;
        if unpacked > MAX_BLOCK_BYTES {
            return Err(bad("a snappy block is unreasonably long"));
        }
        self.block.resize(unpacked, 0);
        snap::raw::Decoder::new()
            .decompress(&self.packed, &mut self.block)
            .map_err(|_| bad("a snappy block is damaged"))?;
        self.at = 0;
        Ok(true)
    }
}

impl<R: Read> Read for SnappyReader<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.at == self.block.len() {
            if !self.next_block()? {
                return Ok(0);
            }
        }
        let n = buf.len().min(self.block.len() - self.at);
        buf[..n].copy_from_slice(&self.block[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}

fn bad(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Compresses into such a stream.
pub(super) struct SnappyWriter<W> {
    sink: W,
    encoder: snap::raw::Encoder,
    block: Vec<u8>,
    packed: Vec<u8>,
}

impl<W: Write> SnappyWriter<W> {
    pub(super) fn new(mut sink: W) -> io::Result<SnappyWriter<W>> {
        sink.write_all(&HEADER)?;
        let block = Vec::with_capacity(BLOCK_BYTES);
        let packed = vec![0; snap::raw::max_compress_len(BLOCK_BYTES)];
        Ok(SnappyWriter { sink, encoder: snap::raw::Encoder::new(), block, packed })
    }

    /// Ends the stream.
    pub(super) fn finish(mut self) -> io::Result<W> {
        self.put_block()?;
        Ok(self.sink)
    }

    fn put_block(&mut self) -> io::Result<()> {
        if self.block.is_empty() {
            return Ok(());
        }
        let n = self.encoder.compress(&self.block, &mut self.packed).map_err(io::Error::other)?;
        self.sink.write_all(&(n as u32).to_be_bytes())?;
        self.sink.write_all(&self.packed[..n])?;
        self.block.clear();
        Ok(())
    }
}

impl<W: Write> Write for SnappyWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = bytes.len().min(BLOCK_BYTES - self.block.len());
        self.block.extend_from_slice(&bytes[..n]);
        if self.block.len() == BLOCK_BYTES {
            self.put_block()?;
        }
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unpack(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        SnappyReader::new(bytes).read_to_end(&mut out).map(|_| out)
    }

    fn pack(bytes: &[u8]) -> Vec<u8> {
        let mut writer = SnappyWriter::new(Vec::new()).unwrap();
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap()
    }

    #[test]
    fn what_is_packed_comes_back() {
        for len in [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 200_000] {
            let bytes: Vec<u8> = (0..len).map(|i| (i / 7) as u8).collect();
            assert_eq!(unpack(&pack(&bytes)).unwrap(), bytes, "{len}");
        }
    }

    #[test]
    fn cut_streams_and_wrong_lengths_are_refused() {
        let packed = pack(&[5; 100]);
        for len in 1..packed.len() {
            assert_eq!(unpack(&packed[..len]).is_ok(), len == HEADER.len(), "cut at {len}");
        }
        let mut long = packed.clone();
        long[16..20].copy_from_slice(&[0x7f, 0xff, 0xff, 0xff]);
        assert!(unpack(&long).is_err());
        // A block that claims 4 GiB when unpacked.
        let mut bomb = HEADER.to_vec();
        bomb.extend([0, 0, 0, 6, 0xff, 0xff, 0xff, 0xff, 0x0f, 0]);
        assert!(unpack(&bomb).is_err());
    }
}
