//! Ports that no other test takes, in this process or another.
//!
//! Asking the kernel for a free port and letting go of it is a race that
//! parallel tests lose now and then. Here a port belongs to who is bound to
//! the abstract name of its block (unix(7)), of whichever user, and all blocks
//! lie below the kernel's ephemeral ports (32768 and up), so no outgoing
//! connection takes one either.

use std::net::TcpListener;
use std::ops::RangeInclusive;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::sync::Mutex;

const FIRST: u16 = 20_000;
const BLOCKS: u16 = 400;

/// Neighbouring ports, this process's own until dropped.
pub struct PortBlock {
    first: u16,
    /// Bound to the block's name, which the kernel frees when the process dies.
    _claim: UnixListener,
}

impl PortBlock {
    /// How many ports a block has.
    pub const SIZE: u16 = 30;

    /// Takes a block.
    ///
    /// # Panics
    /// All are taken.
    pub fn take() -> Self {
        (0..BLOCKS)
            .map(|block| FIRST + block * Self::SIZE)
            .find_map(|first| {
                let name = SocketAddr::from_abstract_name(format!("herdsman-test-ports-{first}")).ok()?;
                let block = Self { first, _claim: UnixListener::bind_addr(&name).ok()? };
                // A stranger, or a server left over from a killed test run.
                block.range().all(is_free).then_some(block)
            })
            .expect("no free block of ports below 32768; are servers left over from a killed test run?")
    }

    /// The ports of the block.
    pub fn range(&self) -> RangeInclusive<u16> {
        self.first..=self.first + Self::SIZE - 1
    }
}

/// A port that this process hands out once and no other process hands out
/// while this one lives. Nothing listens on it.
pub fn free_port() -> u16 {
    static BLOCKS: Mutex<Vec<(PortBlock, u16)>> = Mutex::new(Vec::new());
    let mut blocks = BLOCKS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if blocks.last().is_none_or(|(block, next)| !block.range().contains(next)) {
        let block = PortBlock::take();
        let first = block.first;
        blocks.push((block, first));
    }
    let (_, next) = blocks.last_mut().unwrap();
    *next += 1;
    *next - 1
}

/// Whether a server could listen there now (std sets `SO_REUSEADDR`, as
/// llama-server does: remains of closed connections do not count).
fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}
