//! Becomes the user that an image wants its command to run as. Names are those of the image: so all of this comes after
//! the root has changed.

use std::fs;
use std::path::PathBuf;

use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};

use super::error::RunError;

/// A user of the image, by numbers: the kernel knows no names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    uid: u32,
    gid: u32,
    groups: Vec<u32>,
    /// The home directory.
    pub home: PathBuf,
}

impl User {
    /// Looks up `USER` or `USER:GROUP` in the image's own files (passwd(5), group(5)).
    pub fn find(wanted: &str) -> Result<User, RunError> {
        // An image without these files has no names; numbers work there.
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let (passwd, group) = (read("/etc/passwd"), read("/etc/group"));
        look_up(wanted, &passwd, &group).ok_or_else(|| RunError::UnknownUser {
            user: wanted.to_owned(),
            known: format!("users: {}; groups: {}", names(&passwd), names(&group)),
        })
    }

    // step: switch-user
    /// Gives root's privileges up, for good.
    pub fn switch(&self) -> Result<(), RunError> {
        let groups: Vec<Gid> = self.groups.iter().copied().map(Gid::from_raw).collect();
        // Groups first: it takes privilege to change them, and what root was a member of must not stay behind.
        setgroups(&groups).map_err(|errno| RunError::SetGroups { errno })?;
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        // Then the group, because that takes privilege too. All three of its kinds: by a saved one there is a way back.
        setresgid(gid, gid, gid).map_err(|errno| RunError::SetGroup { gid: self.gid, errno })?;
        // The user last: with the last user id of root go all capabilities (capabilities(7)).
        setresuid(uid, uid, uid).map_err(|errno| RunError::SetUser { uid: self.uid, errno })
    }
}

/// The first names in the text of one of these files, for somebody who looks for one.
fn names(text: &str) -> String {
    let names: Vec<&str> = text.lines().filter_map(|line| line.split(':').next()).take(8).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// Finds the user in the text of both files. `None` for a name that is not in them.
fn look_up(wanted: &str, passwd: &str, group: &str) -> Option<User> {
    let (user, explicit_group) = match wanted.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (wanted, None),
    };
    // name:password:uid:gid:comment:home:shell
    let entries: Vec<Vec<&str>> = passwd.lines().map(|line| line.split(':').collect()).collect();
    let entry = entries.iter().find(|entry| entry.first() == Some(&user) || entry.get(2) == Some(&user));
    let number = |field: usize| entry?.get(field)?.parse::<u32>().ok();
    // name:password:gid:members
    let groups: Vec<Vec<&str>> = group.lines().map(|line| line.split(':').collect()).collect();
    let gid_of = |entry: &Vec<&str>| entry.get(2)?.parse::<u32>().ok();
    let gid = match explicit_group {
        Some(name) => match groups.iter().find(|entry| entry.first() == Some(&name)) {
            Some(entry) => gid_of(entry)?,
            None => name.parse().ok()?,
        },
        None => number(3).unwrap_or(0),
    };
    let name = entry.and_then(|entry| entry.first().copied());
    let is_member = |entry: &&Vec<&str>| {
        name.is_some_and(|name| entry.get(3).is_some_and(|all| all.split(',').any(|one| one == name)))
    };
    let others = groups.iter().filter(is_member).filter_map(gid_of);
    Some(User {
        uid: number(2).or_else(|| user.parse().ok())?,
        gid,
        // As in Docker, whoever names a group wants that one alone.
        groups: others.filter(|_| explicit_group.is_none()).collect(),
        home: entry.and_then(|entry| entry.get(5)).filter(|home| !home.is_empty()).map_or("/".into(), PathBuf::from),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_names_or_numbers_with_or_without_a_group() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34:web:/var/www:/bin/sh\n";
        let group = "root:x:0:\nweb:x:34:\nlog:x:40:adm,web\nnull:x:41:\n";
        let find = |wanted| look_up(wanted, passwd, group);
        let user =
            |uid, gid, groups: &[u32], home: &str| Some(User { uid, gid, groups: groups.into(), home: home.into() });
        assert_eq!(find("web"), user(33, 34, &[40], "/var/www"));
        assert_eq!(find("33"), user(33, 34, &[40], "/var/www"));
        assert_eq!(find("web:log"), user(33, 40, &[], "/var/www"));
        assert_eq!(find("1000"), user(1000, 0, &[], "/"));
        assert_eq!(find("1000:1001"), user(1000, 1001, &[], "/"));
        assert_eq!(find("nobody"), None);
        assert_eq!(find("web:nogroup"), None);
        assert_eq!(look_up("web", "", ""), None);
    }
}
