//! The twins of the taught code in other languages, which no build of ours compiles: whether their own tools take them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::{command, image};

/// Compiles every Go file of the lessons, with its vet's judgement, and has busybox parse every shell script.
pub fn check(root: &Path) -> Result<()> {
    let (mut programs, mut scripts) = (Vec::new(), Vec::new());
    for lesson in entries(&root.join("lessons"))? {
        if lesson.is_dir() {
            for file in entries(&lesson)? {
                match file.extension().and_then(|extension| extension.to_str()) {
                    Some("go") => programs.push(file),
                    Some("sh") => scripts.push(file),
                    _ => {}
                }
            }
        }
    }
    ensure!(
        !programs.is_empty() && !scripts.is_empty(),
        "no lesson has a twin in Go, or none in shell: look at xtask/src/twins.rs"
    );
    let work = root.join("target/twins");
    fs::create_dir_all(&work).with_context(|| format!("create {}", work.display()))?;
    for program in &programs {
        command::run(go(&work)?.arg("vet").arg(program))?;
        command::run(go(&work)?.args(["build", "-o", "/dev/null"]).arg(program))?;
    }
    let busybox = image::find_busybox()?;
    for script in &scripts {
        // The shell that it runs in, in a lab.
        command::run(Command::new(&busybox).args(["sh", "-n"]).arg(script))?;
    }
    Ok(())
}

/// Go as the distribution has it, which fetches nothing, calls no C compiler, and keeps its cache with our own.
fn go(work: &Path) -> Result<Command> {
    let Some(program) = command::find_program("go") else {
        bail!("go is not installed: `cargo xtask setup` does that")
    };
    let mut go = Command::new(program);
    go.current_dir(work).env("CGO_ENABLED", "0").env("GOPROXY", "off");
    go.env("GO111MODULE", "off").env("GOTOOLCHAIN", "local").env("GOCACHE", work.join("cache"));
    Ok(go)
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = folder.read_dir().with_context(|| format!("list {}", folder.display()))?;
    entries.map(|entry| Ok(entry?.path())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROGRAM: &str = "package main\n\nimport \"os\"\n\nfunc main() { os.Exit(0) }\n";
    const SCRIPT: &str = "if true; then echo twin; fi\n";

    /// What the check says of a lesson with these two twins.
    fn of(name: &str, program: &str, script: &str) -> Result<()> {
        let root = std::env::temp_dir().join(format!("newroot-twins-{name}-{}", std::process::id()));
        let lesson = root.join("lessons/01-test");
        fs::create_dir_all(&lesson)?;
        fs::write(lesson.join("twin.go"), program)?;
        fs::write(lesson.join("twin.sh"), script)?;
        let checked = check(&root);
        fs::remove_dir_all(&root)?;
        checked
    }

    #[test]
    fn a_twin_that_its_own_compiler_or_shell_does_not_take_is_found() {
        assert!(of("good", PROGRAM, SCRIPT).is_ok());
        let error = |checked: Result<()>| format!("{:#}", checked.err().unwrap_or_else(|| anyhow::anyhow!("taken")));
        let wrong_type = PROGRAM.replace("Exit(0)", "Exit(\"no\")");
        assert!(error(of("type", &wrong_type, SCRIPT)).contains("go"), "a text is no exit status");
        assert!(error(of("shell", PROGRAM, "if true; then echo twin\n")).contains("busybox"), "fi is missing");
    }
}
