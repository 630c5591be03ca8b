//! How large lessons may be: far beyond what anybody would read, and small enough that no file, however made, costs the
//! server more than a moment.

/// Bytes of a file.
pub const FILE: u64 = 256 * 1024;
/// Lessons in a directory.
pub const LESSONS: usize = 100;
/// Twins of a lesson.
pub const TWINS: usize = 8;
/// Tasks and quizzes of a lesson.
pub const TASKS: usize = 100;
/// Hints of a task.
pub const HINTS: usize = 8;
/// Options of a quiz.
pub const OPTIONS: usize = 8;
/// Lists, quotations, emphasis and so on in each other.
pub const DEPTH: usize = 20;
/// Paths that a lesson's expressions may ask about.
pub const PATHS: usize = 32;
/// Bytes of such a path.
pub const PATH: usize = 256;
