//! The tree digest (disk-formats 4.2), summed up from scratch with a CRC of its own.

use super::state::{State, Znode};

/// CRC-32 (IEEE) one byte at a time.
const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let mut value = i as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { (value >> 1) ^ 0xEDB8_8320 } else { value >> 1 };
            bit += 1;
        }
        table[i] = value;
        i += 1;
    }
    table
};

fn crc(bytes: impl IntoIterator<Item = u8>) -> u32 {
    let step = |crc: u32, byte: u8| (crc >> 8) ^ TABLE[((crc ^ u32::from(byte)) & 0xff) as usize];
    !bytes.into_iter().fold(!0, step)
}

fn of_node(path: &str, node: &Znode) -> u32 {
    let path = if path == "/" { "" } else { path };
    let longs = [node.czxid, node.mzxid, node.pzxid, node.ctime, node.mtime];
    let ints = [node.version, node.children_created, node.aversion];
    crc(path
        .bytes()
        .chain(node.data.iter().flatten().copied())
        .chain(longs.into_iter().flat_map(i64::to_be_bytes))
        .chain(ints.into_iter().flat_map(i32::to_be_bytes))
        .chain(node.owner.stored().to_be_bytes()))
}

/// The digest of a state.
#[must_use]
pub fn digest(state: &State) -> u64 {
    let counted = state.nodes.iter().filter(|(path, _)| !path.starts_with("/zookeeper/"));
    counted.map(|(path, node)| u64::from(of_node(path, node))).fold(0, u64::wrapping_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_tree_has_apaches_digest() {
        assert_eq!(crc(*b"123456789"), 0xCBF4_3926);
        assert_eq!(digest(&State::first()), 1_371_985_504);
    }
}
