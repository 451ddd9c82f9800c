//! The files of a commit, in a directory of their own.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::{GitError, TreeFile, WorkTree};
use crate::model::Commit;

/// The largest file that is copied, bytes; a definition may have 256 KiB.
const LARGEST: u64 = 1 << 20;

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// Git does not give the files.
    #[error(transparent)]
    Git(#[from] GitError),
    /// They cannot be written.
    #[error("{}: {cause}: see that the directory for temporary files can be written", path.display())]
    Disk {
        /// What was to be written.
        path: std::path::PathBuf,
        /// Why not.
        cause: io::Error,
    },
}

impl WorkTree {
    /// Writes the files of `commit` that lie directly in the work tree's
    /// directory and are `wanted` into `to`, which exists and is empty.
    ///
    /// A link to a file beside it becomes a copy of that; any other, and what is
    /// too large, becomes a file that cannot be read: a commit must not name
    /// files of the host, nor may a definition seem to be missing.
    ///
    /// # Errors
    /// Git fails, or the disk does.
    pub fn copy(&self, commit: &Commit, wanted: impl Fn(&OsStr) -> bool, to: &Path) -> Result<(), CopyError> {
        let listed = self.list(commit)?;
        let readable: Vec<&TreeFile> = listed.iter().filter(|file| file.size <= LARGEST).collect();
        let contents = self.read(&readable)?;
        let contents: BTreeMap<&OsStr, (bool, Vec<u8>)> =
            readable.iter().zip(contents).map(|(file, content)| (&*file.name, (file.is_link, content))).collect();
        for TreeFile { name, .. } in listed.iter().filter(|file| wanted(&file.name)) {
            let path = to.join(name);
            let written = match followed(&contents, name) {
                Some(content) => std::fs::write(&path, content),
                None => symlink(name, &path),
            };
            written.map_err(|cause| CopyError::Disk { path, cause })?;
        }
        Ok(())
    }
}

/// What reading `name` gives, through links to what lies beside it.
fn followed<'c>(contents: &'c BTreeMap<&OsStr, (bool, Vec<u8>)>, name: &OsStr) -> Option<&'c [u8]> {
    let mut name: OsString = name.to_owned();
    // As many as the kernel follows.
    for _ in 0..40 {
        let (is_link, content) = contents.get(&*name)?;
        if !is_link {
            return Some(content);
        }
        let target = OsStr::from_bytes(content);
        name = Path::new(target).strip_prefix(".").unwrap_or(Path::new(target)).into();
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use rustix::io::Errno;

    use super::super::work_tree::tests::{commands, repository};
    use super::*;

    #[test]
    fn a_copy_holds_what_is_wanted_and_follows_no_link_out_of_the_directory() {
        let (_temp, models) = repository();
        for (target, name) in
            [("a.toml", "b.toml"), ("./b.toml", "c.toml"), ("/etc/passwd", "d.toml"), ("e.toml", "e.toml")]
        {
            symlink(target, models.join(name)).unwrap();
        }
        std::fs::write(models.join("notes.txt"), "").unwrap();
        std::fs::write(models.join("large.toml"), vec![b'#'; (1 << 20) + 1]).unwrap();
        commands(&models, &["add .", "commit -q -m second"]);
        std::fs::remove_file(models.join("a.toml")).unwrap();

        let tree = WorkTree::holding(&models).unwrap().unwrap();
        let to = tempfile::tempdir().unwrap();
        let is_toml = |name: &OsStr| name.as_bytes().ends_with(b".toml");
        tree.copy(&tree.head().unwrap().unwrap(), is_toml, to.path()).unwrap();
        let read = |name: &str| std::fs::read_to_string(to.path().join(name)).map_err(|error| error.raw_os_error());
        for same in ["a.toml", "b.toml", "c.toml"] {
            assert_eq!(read(same).as_deref(), Ok("a = 1\n"));
        }
        for unreadable in ["d.toml", "e.toml", "large.toml"] {
            assert_eq!(read(unreadable), Err(Some(Errno::LOOP.raw_os_error())), "{unreadable}");
        }
        assert_eq!(read("notes.txt"), Err(Some(Errno::NOENT.raw_os_error())));
    }
}
