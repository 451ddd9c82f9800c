//! What the files that definitions name look like on disk: one `stat` per distinct
//! path and load, however many definitions share it.

use std::collections::HashMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex};

use crate::model::FileIdentity;

/// Identities by absolute path.
#[derive(Default)]
pub(super) struct FileCache(Mutex<HashMap<Arc<str>, Option<FileIdentity>>>);

impl FileCache {
    /// The identity of the regular file at `path`; `None` if there is none.
    pub fn identity(&self, path: &Arc<str>) -> Option<FileIdentity> {
        let lock = || self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(known) = lock().get(path) {
            return *known;
        }
        // Not under the lock: a slow mount delays one thread, not all.
        let found = identity_now(path);
        lock().insert(Arc::clone(path), found);
        found
    }
}

/// Identifies this content without reading it.
pub(super) fn identity(metadata: &Metadata) -> FileIdentity {
    let mtime_ns = metadata.mtime().saturating_mul(1_000_000_000).saturating_add(metadata.mtime_nsec());
    FileIdentity { size: metadata.size(), mtime_ns, inode: metadata.ino() }
}

/// The identity of the regular file at `path`, now; `None` if there is none.
#[must_use]
pub fn identity_now(path: &str) -> Option<FileIdentity> {
    std::fs::metadata(path).ok().filter(Metadata::is_file).map(|metadata| identity(&metadata))
}

/// Every file that a path stands for: all `N` shards of `…-00001-of-0000N.gguf`,
/// which llama-server finds by name from the first, or the path alone. Lazy,
/// because a name can claim 99,999 shards.
pub(crate) fn shards(path: &Arc<str>) -> impl Iterator<Item = Arc<str>> {
    let set = split_name(path);
    let alone = set.is_none().then(|| Arc::clone(path));
    alone.into_iter().chain(set.into_iter().flatten())
}

fn split_name(path: &str) -> Option<impl Iterator<Item = Arc<str>>> {
    /// Linux's `PATH_MAX`: no file has a longer path.
    const LONGEST: usize = 4096;
    let (rest, total) = path.strip_suffix(".gguf")?.rsplit_once("-of-")?;
    let (stem, index) = rest.rsplit_once('-')?;
    let five_digits = |text: &str| (text.len() == 5 && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse());
    let (Ok(index), Ok(count)) = (five_digits(index)?, five_digits(total)?) else { return None };
    let all: std::ops::RangeInclusive<u32> = 1..=count;
    let is_set = all.contains(&index) && path.len() <= LONGEST;
    is_set.then(|| all.map(move |shard| format!("{stem}-{shard:05}-of-{total}.gguf").into()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_shard_stands_for_all_of_its_set() {
        let all = [1, 2, 3].map(|n| Arc::from(format!("/w/a-0000{n}-of-00003.gguf")));
        assert_eq!(shards(&all[0]).collect::<Vec<_>>(), all);
        for alone in ["/w/a.gguf", "/w/a-00004-of-00003.gguf", "/w/a-1-of-3.gguf", "/w/a-00001-of-00003.bin", "/w/-of-"]
        {
            assert_eq!(shards(&alone.into()).collect::<Vec<_>>(), [alone.into()]);
        }
    }

    #[test]
    fn only_a_regular_file_has_an_identity() {
        let dir = tempfile::tempdir().unwrap();
        let (cache, file) = (FileCache::default(), dir.path().join("w.gguf"));
        std::fs::write(&file, "abc").unwrap();
        assert_eq!(cache.identity(&file.to_str().unwrap().into()).unwrap().size, 3);
        assert_eq!(cache.identity(&dir.path().to_str().unwrap().into()), None);
        assert_eq!(cache.identity(&format!("{}.no", file.display()).into()), None);
    }

    #[test]
    fn within_one_load_a_path_has_one_identity() {
        let dir = tempfile::tempdir().unwrap();
        let (cache, file) = (FileCache::default(), dir.path().join("w.gguf"));
        std::fs::write(&file, "abc").unwrap();
        let before = cache.identity(&file.to_str().unwrap().into());
        std::fs::write(&file, "abcd").unwrap();
        assert_eq!(cache.identity(&file.to_str().unwrap().into()), before);
    }
}
