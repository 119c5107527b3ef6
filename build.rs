//! Compiles the contract under `proto/` into Rust, and into the descriptor set that reflection serves.

use std::{
    env,
    error::Error,
    fs, io,
    path::{Path, PathBuf},
};

use prost::Message;

const PROTO_ROOT: &str = "proto";
const PACKAGE_DIR: &str = "proto/bancheck/v1";
const DESCRIPTOR_FILE: &str = "bancheck_descriptor.bin";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed={PROTO_ROOT}");

    #[expect(
        clippy::disallowed_methods,
        reason = "cargo says here where generated code goes"
    )]
    let out_dir = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    let mut descriptors = protox::compile(proto_files(Path::new(PACKAGE_DIR))?, [PROTO_ROOT])?;

    tonic_prost_build::configure()
        .build_client(true)
        .build_server(true)
        // One Rust type for `google.rpc.Status`, and no second module tree beside ours.
        .extern_path(".google.rpc", "::tonic_types")
        .compile_fds(descriptors.clone())?;

    // The comments have become Rust docs; without them the served set does not change with a wording.
    for file in &mut descriptors.file {
        file.source_code_info = None;
    }
    fs::write(out_dir.join(DESCRIPTOR_FILE), descriptors.encode_to_vec())?;
    Ok(())
}

/// The proto files of a folder, by name, so that the output does not depend on the file system.
fn proto_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == "proto") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
