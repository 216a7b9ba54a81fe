//! A sandbox's files, in memory.
//!
//! Paths here are absolute and normal (see [`normal`]); symlinks and permissions are not simulated. Files over
//! [`KEPT_CONTENT`] keep their length and digest only.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use serde_json::{Value, json};

use super::locked;
use super::watch::{Change, Watchers};
use crate::clock::UnixTime;

/// Largest content kept, in bytes.
pub(super) const KEPT_CONTENT: usize = 64 * 1024 * 1024;

/// What a file holds.
#[derive(Clone)]
pub(super) enum Content {
    /// All of it.
    Whole(Bytes),
    /// Too large to keep.
    Length(u64),
}

impl Content {
    pub(super) fn len(&self) -> u64 {
        match self {
            Self::Whole(bytes) => bytes.len() as u64,
            Self::Length(length) => *length,
        }
    }
}

#[derive(Clone)]
enum Kind {
    Directory,
    File(Content),
}

#[derive(Clone)]
struct Node {
    kind: Kind,
    owner: Arc<str>,
    modified: UnixTime,
    metadata: BTreeMap<String, String>,
}

/// Why a file operation failed; the texts follow envd's.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error("path not found: {0}")]
    NotFound(String),
    #[error("path already exists: {0}")]
    Exists(String),
    #[error("path is a directory: {0}")]
    IsDirectory(String),
    #[error("path is not a directory: {0}")]
    NotDirectory(String),
    #[error("the simulator keeps only the length of files over 64 MiB: {0}")]
    NotKept(String),
}

/// What is known of one path.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) path: String,
    pub(super) directory: bool,
    pub(super) size: u64,
    owner: Arc<str>,
    modified: UnixTime,
    pub(super) metadata: BTreeMap<String, String>,
}

impl Entry {
    pub(super) fn name(&self) -> &str {
        name(&self.path)
    }

    /// As `filesystem.EntryInfo` in protobuf's JSON, where 64-bit numbers are strings.
    pub(super) fn json(&self) -> Value {
        let (kind, mode, permissions) = if self.directory {
            ("FILE_TYPE_DIRECTORY", 0o755, "drwxr-xr-x")
        } else {
            ("FILE_TYPE_FILE", 0o644, "-rw-r--r--")
        };
        json!({
            "name": self.name(),
            "type": kind,
            "path": self.path,
            "size": self.size.to_string(),
            "mode": mode,
            "permissions": permissions,
            "owner": &*self.owner,
            "group": &*self.owner,
            "modifiedTime": self.modified.to_string(),
            "metadata": self.metadata,
        })
    }
}

/// The files and who watches them.
pub(super) struct Files {
    nodes: Mutex<BTreeMap<String, Node>>,
    pub(super) watchers: Watchers,
}

impl Files {
    /// A few directories, as in a fresh sandbox.
    pub(super) fn new() -> Self {
        let mut nodes = BTreeMap::new();
        for path in ["/", "/bin", "/dev", "/etc", "/home", "/root", "/tmp", "/usr"] {
            nodes.insert(path.to_owned(), directory("root"));
        }
        nodes.insert("/home/user".to_owned(), directory("user"));
        Self { nodes: Mutex::new(nodes), watchers: Watchers::default() }
    }

    /// The same files for a fork, watched by nobody.
    pub(super) fn copied(&self) -> Self {
        Self { nodes: Mutex::new(locked(&self.nodes).clone()), watchers: Watchers::default() }
    }

    pub(super) fn stat(&self, path: &str) -> Result<Entry, Trouble> {
        let nodes = locked(&self.nodes);
        nodes.get(path).map(|node| entry(path, node)).ok_or_else(|| missing(path))
    }

    pub(super) fn read(&self, path: &str) -> Result<Content, Trouble> {
        match locked(&self.nodes).get(path).map(|node| &node.kind) {
            None => Err(missing(path)),
            Some(Kind::Directory) => Err(Trouble::IsDirectory(path.to_owned())),
            Some(Kind::File(content)) => Ok(content.clone()),
        }
    }

    /// Entries below a directory, at most `depth` levels down, in path order.
    pub(super) fn list(&self, path: &str, depth: usize) -> Result<Vec<Entry>, Trouble> {
        let nodes = locked(&self.nodes);
        match nodes.get(path).map(|node| &node.kind) {
            None => return Err(missing(path)),
            Some(Kind::File(_)) => return Err(Trouble::NotDirectory(path.to_owned())),
            Some(Kind::Directory) => {}
        }
        Ok(nodes
            .iter()
            .filter(|(have, _)| {
                below(path, have).is_some_and(|rest| rest.split('/').count() <= depth)
            })
            .map(|(have, node)| entry(have, node))
            .collect())
    }

    /// Writes a file whole, with the directories above it.
    pub(super) fn write(
        &self,
        path: &str,
        content: Content,
        owner: &str,
        metadata: BTreeMap<String, String>,
    ) -> Result<Entry, Trouble> {
        let (entry, fresh) = {
            let mut nodes = locked(&self.nodes);
            make_parents(&mut nodes, path, owner)?;
            let node = Node {
                kind: Kind::File(content),
                owner: owner.into(),
                modified: UnixTime::now(),
                metadata,
            };
            if nodes.get(path).is_some_and(|node| matches!(node.kind, Kind::Directory)) {
                return Err(Trouble::IsDirectory(path.to_owned()));
            }
            let entry = entry(path, &node);
            (entry, nodes.insert(path.to_owned(), node).is_none())
        };
        if fresh {
            self.watchers.tell(Change::Create, path, Some(&entry));
        }
        self.watchers.tell(Change::Write, path, Some(&entry));
        Ok(entry)
    }

    /// Makes a directory and those above it.
    pub(super) fn make_directory(&self, path: &str, owner: &str) -> Result<Entry, Trouble> {
        let entry = {
            let mut nodes = locked(&self.nodes);
            if nodes.contains_key(path) {
                return Err(Trouble::Exists(path.to_owned()));
            }
            make_parents(&mut nodes, path, owner)?;
            let node = directory(owner);
            let entry = entry(path, &node);
            nodes.insert(path.to_owned(), node);
            entry
        };
        self.watchers.tell(Change::Create, path, Some(&entry));
        Ok(entry)
    }

    /// Removes a file, or a directory with all below it.
    pub(super) fn remove(&self, path: &str) -> Result<(), Trouble> {
        {
            let mut nodes = locked(&self.nodes);
            nodes.remove(path).ok_or_else(|| missing(path))?;
            nodes.retain(|have, _| below(path, have).is_none());
        }
        self.watchers.tell(Change::Remove, path, None);
        Ok(())
    }

    /// Moves a file or a directory with all below it, over whatever file was there.
    pub(super) fn rename(&self, from: &str, to: &str, owner: &str) -> Result<Entry, Trouble> {
        let entry = {
            let mut nodes = locked(&self.nodes);
            if !nodes.contains_key(from) {
                return Err(missing(from));
            }
            make_parents(&mut nodes, to, owner)?;
            let moved: Vec<String> = nodes
                .keys()
                .filter(|have| *have == from || below(from, have).is_some())
                .cloned()
                .collect();
            for old in moved {
                let new = format!("{to}{}", old.strip_prefix(from).unwrap_or_default());
                if let Some(node) = nodes.remove(&old) {
                    nodes.insert(new, node);
                }
            }
            nodes.get(to).map(|node| entry(to, node)).ok_or_else(|| missing(to))?
        };
        self.watchers.tell(Change::Rename, from, None);
        self.watchers.tell(Change::Create, to, Some(&entry));
        Ok(entry)
    }
}

fn directory(owner: &str) -> Node {
    Node {
        kind: Kind::Directory,
        owner: owner.into(),
        modified: UnixTime::now(),
        metadata: BTreeMap::new(),
    }
}

fn entry(path: &str, node: &Node) -> Entry {
    let (directory, size) = match &node.kind {
        Kind::Directory => (true, 4096),
        Kind::File(content) => (false, content.len()),
    };
    Entry {
        path: path.to_owned(),
        directory,
        size,
        owner: Arc::clone(&node.owner),
        modified: node.modified,
        metadata: node.metadata.clone(),
    }
}

fn missing(path: &str) -> Trouble {
    Trouble::NotFound(path.to_owned())
}

fn make_parents(
    nodes: &mut BTreeMap<String, Node>,
    path: &str,
    owner: &str,
) -> Result<(), Trouble> {
    for (end, _) in path.match_indices('/').skip(1) {
        let Some(parent) = path.get(..end) else { continue };
        let node = nodes.entry(parent.to_owned()).or_insert_with(|| directory(owner));
        if matches!(node.kind, Kind::File(_)) {
            return Err(Trouble::NotDirectory(parent.to_owned()));
        }
    }
    Ok(())
}

/// What of `path` lies below the directory `above`.
pub(super) fn below<'a>(above: &str, path: &'a str) -> Option<&'a str> {
    let rest = path.strip_prefix(above)?;
    let rest = if above == "/" { rest } else { rest.strip_prefix('/')? };
    (!rest.is_empty()).then_some(rest)
}

/// The last segment of a path.
pub(super) fn name(path: &str) -> &str {
    match path.rsplit_once('/') {
        Some((_, "")) | None => path,
        Some((_, name)) => name,
    }
}

/// The home directory of a user.
pub(super) fn home(user: &str) -> String {
    if user == "root" { "/root".to_owned() } else { format!("/home/{user}") }
}

/// `path` made absolute from `base` (and `~` from `home`), without `.`, `..` and empty segments.
pub(super) fn normal(path: &str, base: &str, home: &str) -> String {
    let full = match path.strip_prefix('~') {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => format!("{home}{rest}"),
        Some(_) | None if path.starts_with('/') => path.to_owned(),
        Some(_) | None => format!("{base}/{path}"),
    };
    let mut segments = Vec::new();
    for segment in full.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            name => segments.push(name),
        }
    }
    format!("/{}", segments.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_normal() {
        for (path, expected) in [
            ("a/b", "/home/user/a/b"),
            ("~", "/home/user"),
            ("~/x", "/home/user/x"),
            ("/a/../b//c/.", "/b/c"),
            ("../../..", "/"),
            ("~x", "/home/user/~x"),
        ] {
            assert_eq!(normal(path, "/home/user", "/home/user"), expected, "{path}");
        }
    }

    #[test]
    fn a_moved_directory_takes_its_files_along() {
        let files = Files::new();
        let content = Content::Whole(Bytes::from_static(b"x"));
        files.write("/a/b/c", content, "user", BTreeMap::new()).unwrap();
        files.rename("/a", "/z", "user").unwrap();
        assert!(files.stat("/a/b/c").is_err());
        assert_eq!(files.stat("/z/b/c").unwrap().size, 1);
        let names: Vec<_> = files.list("/z", 9).unwrap().into_iter().map(|e| e.path).collect();
        assert_eq!(names, ["/z/b", "/z/b/c"]);
    }

    #[test]
    fn listing_stops_at_the_depth() {
        let files = Files::new();
        files.make_directory("/a/b/c/d", "user").unwrap();
        assert_eq!(files.list("/a", 1).unwrap().len(), 1);
        assert_eq!(files.list("/a", 2).unwrap().len(), 2);
        assert!(matches!(files.list("/nowhere", 1), Err(Trouble::NotFound(_))));
    }
}
