//! The file of purged principals: an id a line, replaced as a whole. Processes may share it; none takes an id out.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use super::principals::is_callback_id;
use crate::principal::KeyId;

/// The file's name in the state directory.
const NAME: &str = "purged";

/// Reads the file in `directory`; none there is none purged.
///
/// # Errors
/// It cannot be read, or holds something else than ids: then nobody knows who was purged.
pub(super) fn read(directory: &Path) -> io::Result<Vec<KeyId>> {
    let path = directory.join(NAME);
    read_from(&path).map_err(|error| at(&path, &error))
}

fn read_from(path: &Path) -> io::Result<Vec<KeyId>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let nonsense = || io::Error::new(io::ErrorKind::InvalidData, "holds a line that is no id");
    let id = |line| is_callback_id(line).then(|| KeyId::new(line)).ok_or_else(nonsense);
    text.lines().map(id).collect()
}

/// Adds ids to the file in `directory`, which is made where there is none. Whoever reads it finds the old one or the new
/// one, and after a crash too.
///
/// # Errors
/// As the system says.
pub(super) fn write(directory: &Path, mut ids: Vec<KeyId>) -> io::Result<()> {
    let path = directory.join(NAME);
    let draft = directory.join(format!("{NAME}.new"));
    let mut write = || {
        fs::create_dir_all(directory)?;
        let folder = File::open(directory)?;
        // Until it is closed, nobody else adds any.
        folder.lock()?;
        ids.extend(read_from(&path)?);
        ids.sort();
        ids.dedup();
        let mut text = String::new();
        ids.iter().for_each(|id| text.extend([id.as_str(), "\n"]));
        let mut file = File::create(&draft)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&draft, &path)?;
        folder.sync_all()
    };
    write().map_err(|error| at(&path, &error))
}

fn at(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(read(directory.path()).unwrap(), []);
        let ids = ["cb0123456789abcdef", "cb0000000000000000"].map(KeyId::new);
        write(directory.path(), ids.to_vec()).unwrap();
        write(directory.path(), ids.to_vec()).unwrap();
        let mut sorted = ids.to_vec();
        sorted.sort();
        assert_eq!(read(directory.path()).unwrap(), sorted);
    }

    #[test]
    fn a_damaged_file_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        for text in ["\n", "cb0123456789abcde", "cb0123456789abcdef x\n", "cb0123456789ABCDEF\n"] {
            fs::write(directory.path().join(NAME), text).unwrap();
            assert_eq!(read(directory.path()).unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
        fs::write(directory.path().join(NAME), b"\xff").unwrap();
        assert!(read(directory.path()).is_err());
    }
}
