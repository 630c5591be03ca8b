//! Names that come close to one that was mistyped. Teaches nothing about containers.

/// The names, nearest first: by how many letters have to be put in, left out or exchanged. Equally near ones stay in
/// their order.
pub fn by_nearness(wanted: &str, mut names: Vec<String>) -> Vec<String> {
    names.sort_by_cached_key(|name| distance(wanted, name));
    names
}

/// Whether one could have been meant by the other: a third of its letters may be wrong.
pub fn is_near(wanted: &str, name: &str) -> bool {
    3 * distance(wanted, name) <= wanted.chars().count()
}

/// The Levenshtein distance.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    // What it takes to get from the letters of `one` so far to each beginning of `other`.
    let mut costs: Vec<usize> = (0..=other.len()).collect();
    for (row, letter) in one.chars().enumerate() {
        let mut before = costs[0];
        costs[0] = row + 1;
        for (column, &another) in other.iter().enumerate() {
            let exchanged = before + usize::from(letter != another);
            before = costs[column + 1];
            costs[column + 1] = exchanged.min(costs[column] + 1).min(before + 1);
        }
    }
    costs[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_comes_first() {
        let names = ["debian", "busybox", "alpine:3.20", "alpine"].map(str::to_owned).to_vec();
        assert_eq!(by_nearness("alpin", names), ["alpine", "debian", "alpine:3.20", "busybox"]);
        for (one, other, expected) in [("", "abc", 3), ("abc", "", 3), ("bash", "bash", 0), ("bash", "ash", 1)] {
            assert_eq!(distance(one, other), expected, "{one} {other}");
        }
        assert!(is_near("bash", "ash") && is_near("pyton3", "python3") && !is_near("ls", "ps"));
    }
}
