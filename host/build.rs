//! Embeds the component: `OUT_DIR/rejoin.wasm` and the same as machine code, `OUT_DIR/rejoin.cwasm`.

#![forbid(unsafe_code)]

fn main() -> anyhow::Result<()> {
    xtask::build_script(xtask::Variant::Shipped, "rejoin")
}
