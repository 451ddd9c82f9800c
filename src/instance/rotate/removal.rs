//! How the beginning of a file is removed while another process appends to it:
//! `fallocate(2)`, as far as the file system goes along.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use super::RotateError;
use super::live::{Live, first_data};
use super::rotated::Rotated;

/// A way to remove whole blocks from the beginning of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Removal {
    /// They are gone and the file is shorter (ext4, xfs).
    Collapse,
    /// Their space is freed. The file keeps its length and begins with a hole,
    /// which reads as zeros (tmpfs, btrfs, overlays of them).
    Punch,
}

impl Removal {
    /// The first that works beside this log: tried on a file of two blocks,
    /// before anything is copied.
    pub(super) fn choose(among: &[Self], rotated: &Rotated, live: &Live) -> Result<Self, RotateError> {
        for removal in among {
            if rotated.with_scratch(|scratch| removal.works(scratch, live.grain()))? {
                return Ok(*removal);
            }
        }
        Err(RotateError::Unsupported { log: rotated.log().to_owned() })
    }

    /// Whether the first of two blocks of an empty file can be removed, and
    /// whether the file then begins where it should.
    fn works(self, scratch: &File, block: u64) -> io::Result<bool> {
        let blocks = vec![b'x'; usize::try_from(2 * block).unwrap_or(usize::MAX)];
        scratch.write_all_at(&blocks, 0)?;
        match self.remove(scratch, block) {
            Ok(()) => match self {
                Self::Collapse => Ok(scratch.metadata()?.len() == block),
                Self::Punch => Ok(first_data(scratch)? == Some(block)),
            },
            // EINVAL: not at this boundary (ext4 with clusters of several blocks).
            Err(Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes the first `length` bytes, a multiple of the file system's block.
    pub(super) fn remove(self, file: &File, length: u64) -> Result<(), Errno> {
        let flags = match self {
            Self::Collapse => FallocateFlags::COLLAPSE_RANGE,
            Self::Punch => FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
        };
        rustix::io::retry_on_intr(|| rustix::fs::fallocate(file, flags, 0, length))
    }
}
