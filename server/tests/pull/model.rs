//! What layers mean, on a tree in memory. It looks names up as a process does whose root directory the image is
//! (path_resolution(7)), and follows the rules of the OCI image specification, section "Layer Filesystem Changeset".

use std::collections::BTreeMap;

/// An entry of a layer.
#[derive(Debug)]
pub struct Entry {
    pub path: String,
    pub kind: Kind,
    pub mode: u32,
    pub owner: (u32, u32),
    pub modified: (i64, i64),
    pub note: Option<String>,
}

/// What an entry makes.
#[derive(Debug)]
pub enum Kind {
    Directory,
    File(Vec<u8>),
    Symlink(String),
    HardLink(String),
    Fifo,
}

/// A file with all it has. What no entry has set, and so can be anything, is `None`.
#[derive(Debug)]
pub struct Inode {
    pub kind: Node,
    pub attributes: Option<(u32, (u32, u32))>,
    pub modified: Option<(i64, i64)>,
    pub note: Option<String>,
}

/// A file's kind, and its content.
#[derive(Debug)]
pub enum Node {
    Directory(BTreeMap<String, usize>),
    File(Vec<u8>),
    Symlink(String),
    Fifo,
}

/// Why a layer cannot be applied, or a name not be found.
#[derive(Debug, PartialEq)]
pub enum Failure {
    NotThere,
    NotADirectory,
    TooManyLinks,
    Outside,
    NoTarget,
}

/// A tree of files; a directory names its files by their numbers.
pub struct Tree {
    pub nodes: Vec<Inode>,
}

impl Tree {
    pub const ROOT: usize = 0;

    pub fn new() -> Tree {
        let root = Inode { kind: Node::Directory(BTreeMap::new()), attributes: None, modified: None, note: None };
        Tree { nodes: vec![root] }
    }

    /// Applies a layer.
    pub fn apply(&mut self, entries: &[Entry]) -> Result<(), Failure> {
        let paths = entries.iter().map(|entry| plain(&entry.path)).collect::<Result<Vec<_>, _>>()?;
        for path in &paths {
            self.white_out(path)?;
        }
        for (entry, path) in entries.iter().zip(&paths) {
            self.put(entry, path)?;
        }
        // A directory gets its time when nothing comes into it any more.
        for (entry, path) in entries.iter().zip(&paths) {
            let Some((name, parent)) = path.split_last() else { continue };
            if !matches!(entry.kind, Kind::Directory) {
                continue;
            }
            if let Ok(parent) = self.find(parent, false)
                && let Some(&child) = self.children(parent).get(*name)
                && matches!(self.nodes[child].kind, Node::Directory(_))
            {
                self.nodes[child].modified = Some(entry.modified);
            }
        }
        Ok(())
    }

    fn white_out(&mut self, path: &[&str]) -> Result<(), Failure> {
        let Some((name, parent)) = path.split_last() else { return Ok(()) };
        let Some(name) = name.strip_prefix(".wh.") else { return Ok(()) };
        let parent = match self.find(parent, false) {
            Err(Failure::NotThere | Failure::NotADirectory) => return Ok(()),
            found => found?,
        };
        match name {
            ".wh..opq" => self.children(parent).clear(),
            "" | "." | ".." => return Err(Failure::Outside),
            name => drop(self.children(parent).remove(name)),
        }
        self.nodes[parent].modified = None;
        Ok(())
    }

    fn put(&mut self, entry: &Entry, path: &[&str]) -> Result<(), Failure> {
        let Some((name, parent)) = path.split_last() else { return Ok(()) };
        if name.starts_with(".wh.") {
            return Ok(());
        }
        let parent = self.find(parent, true)?;
        let kind = match &entry.kind {
            Kind::Directory => {
                if let Some(&there) = self.children(parent).get(*name)
                    && matches!(self.nodes[there].kind, Node::Directory(_))
                {
                    let node = &mut self.nodes[there];
                    node.attributes = Some((entry.mode, entry.owner));
                    node.note = entry.note.clone();
                    node.modified = None;
                    return Ok(());
                }
                Node::Directory(BTreeMap::new())
            }
            Kind::File(content) => Node::File(content.clone()),
            Kind::Symlink(target) => Node::Symlink(target.clone()),
            Kind::Fifo => Node::Fifo,
            Kind::HardLink(target) => return self.link(target, parent, name),
        };
        let modified = (!matches!(kind, Node::Directory(_))).then_some(entry.modified);
        let attributes = Some((entry.mode, entry.owner));
        let note = if matches!(kind, Node::File(_) | Node::Directory(_)) { entry.note.clone() } else { None };
        self.nodes.push(Inode { kind, attributes, modified, note });
        let number = self.nodes.len() - 1;
        self.children(parent).insert((*name).to_owned(), number);
        self.nodes[parent].modified = None;
        Ok(())
    }

    fn link(&mut self, target: &str, parent: usize, name: &str) -> Result<(), Failure> {
        // What had the name goes first, and with it what could only be found through it.
        self.children(parent).remove(name);
        self.nodes[parent].modified = None;
        let target = plain(target)?;
        let (file, directory) = target.split_last().ok_or(Failure::NoTarget)?;
        let directory = self.find(directory, false)?;
        let &number = self.children(directory).get(*file).ok_or(Failure::NoTarget)?;
        if matches!(self.nodes[number].kind, Node::Directory(_)) {
            return Err(Failure::NoTarget);
        }
        self.children(parent).insert(name.to_owned(), number);
        Ok(())
    }

    /// The directory at a path, which is made with its parents if it is to be.
    fn find(&mut self, path: &[&str], make: bool) -> Result<usize, Failure> {
        let mut way = vec![Tree::ROOT];
        self.walk(&mut way, path.iter().map(|name| name.to_string()).collect(), make, &mut 0)?;
        Ok(way[way.len() - 1])
    }

    /// Goes on from where `way` has led to. `..` leads back, but never out of the root.
    fn walk(&mut self, way: &mut Vec<usize>, names: Vec<String>, make: bool, links: &mut u32) -> Result<(), Failure> {
        for name in names {
            let here = way[way.len() - 1];
            match name.as_str() {
                "" | "." => continue,
                ".." => {
                    if way.len() > 1 {
                        way.pop();
                    }
                    continue;
                }
                _ => {}
            }
            let Some(&next) = self.children(here).get(&name) else {
                if !make {
                    return Err(Failure::NotThere);
                }
                let kind = Node::Directory(BTreeMap::new());
                self.nodes.push(Inode { kind, attributes: Some((0o755, (0, 0))), modified: None, note: None });
                way.push(self.nodes.len() - 1);
                self.children(here).insert(name, way[way.len() - 1]);
                self.nodes[here].modified = None;
                continue;
            };
            match &self.nodes[next].kind {
                Node::Directory(_) => way.push(next),
                Node::Symlink(target) => {
                    *links += 1;
                    if *links > 40 {
                        return Err(Failure::TooManyLinks);
                    }
                    if target.starts_with('/') {
                        way.truncate(1);
                    }
                    let names = target.split('/').map(str::to_owned).collect();
                    self.walk(way, names, make, links)?;
                }
                Node::File(_) | Node::Fifo => return Err(Failure::NotADirectory),
            }
        }
        Ok(())
    }

    fn children(&mut self, directory: usize) -> &mut BTreeMap<String, usize> {
        match &mut self.nodes[directory].kind {
            Node::Directory(children) => children,
            other => panic!("{other:?} is no directory"),
        }
    }
}

/// The names of a path from the root of the image.
fn plain(path: &str) -> Result<Vec<&str>, Failure> {
    let names: Vec<_> = path.split('/').filter(|name| !matches!(*name, "" | ".")).collect();
    if names.contains(&"..") { Err(Failure::Outside) } else { Ok(names) }
}
