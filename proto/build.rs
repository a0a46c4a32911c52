//! Compiles the contract: every `.proto` under `mainspring/` becomes Rust. Two descriptor sets are
//! kept beside the Rust: the whole for reflection, and the part that the JSON mapping needs. No
//! `protoc` is needed.

use std::path::{Path, PathBuf};

use prost::Message as _;
use prost_types::FileDescriptorSet;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?);
    let mut files = Vec::new();
    collect(&root.join("mainspring"), &mut files)?;
    files.sort();
    println!("cargo:rerun-if-changed=mainspring");

    let descriptors = protox::compile(&files, [&root])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("mainspring.bin"), descriptors.encode_to_vec())?;
    std::fs::write(out.join("messages.bin"), messages(&descriptors).encode_to_vec())?;
    tonic_prost_build::configure().bytes(".").compile_fds(descriptors)?;
    Ok(())
}

/// What `mainspring.api.v1` consists of and refers to, without comments. This is a tenth of the
/// whole: a command of some milliseconds that prints JSON spent more than half of them on reading
/// the rest.
fn messages(all: &FileDescriptorSet) -> FileDescriptorSet {
    let mut needed = vec!["mainspring/api/v1/applications.proto".to_owned()];
    let mut seen = 0;
    while let Some(name) = needed.get(seen) {
        let file = all.file.iter().find(|file| file.name() == name);
        let imports = file.map(|file| file.dependency.clone()).unwrap_or_default();
        needed.extend(
            imports.into_iter().filter(|import| !needed.contains(import)).collect::<Vec<_>>(),
        );
        seen += 1;
    }
    let mut file = all.file.clone();
    file.retain(|file| needed.iter().any(|name| name == file.name()));
    file.iter_mut().for_each(|file| file.source_code_info = None);
    FileDescriptorSet { file }
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|e| e == "proto") {
            files.push(path);
        }
    }
    Ok(())
}
