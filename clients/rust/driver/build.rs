//! Generates the messages of `make interop`; those of the gateway are the example's.
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (protos, interop) = ("../../../protos", "../../interop");
    println!("cargo:rerun-if-changed={protos}");
    println!("cargo:rerun-if-changed={interop}");
    let files = protox::compile(["interop.proto"], [protos, interop])?;
    prost_build::Config::new()
        .extern_path(".gateway.swr.v1", "::swr_gateway_example::pb")
        .compile_fds(files)?;
    Ok(())
}
