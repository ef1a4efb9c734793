//! The component that traps on demand: `OUT_DIR/rejoin-traps.wasm` and the same as machine code, `OUT_DIR/rejoin-traps.cwasm`.

fn main() -> anyhow::Result<()> {
    xtask::build_script(xtask::Variant::Traps, "rejoin-traps")
}
