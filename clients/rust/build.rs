//! Generates the stubs into Cargo's own output folder.
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let protos = "../../protos";
    println!("cargo:rerun-if-changed={protos}");
    let files = protox::compile(["gateway/swr/v1/repos.proto"], [protos])?;
    tonic_prost_build::configure().build_server(false).compile_fds(files)?;
    Ok(())
}
