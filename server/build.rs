//! Tells cargo what the binary embeds: by rust-embed alone it notices a file that changes, but not one that is new.

fn main() {
    // Where one of them is missing, cargo compiles anew each time: slow, but never without the page that came since.
    for folder in ["../lessons", "src/runtime", "../target/dist"] {
        println!("cargo::rerun-if-changed={folder}");
    }
}
