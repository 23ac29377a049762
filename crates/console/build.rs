//! Embeds the documentation, and the files of `web/static` and `web/vendor`: under a name that holds their hash, so that browsers may keep them
//! for ever, and compressed once, here, instead of with every answer.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use sha2::{Digest, Sha256};

#[expect(
    clippy::disallowed_methods,
    reason = "cargo tells a build script where things are through its environment"
)]
fn main() -> io::Result<()> {
    let web = Path::new(&env::var("CARGO_MANIFEST_DIR").map_err(io::Error::other)?).join("../../web");
    let out = PathBuf::from(env::var("OUT_DIR").map_err(io::Error::other)?);
    let mut table = String::from("&[\n");
    for directory in ["static", "vendor"] {
        let directory = web.join(directory);
        println!("cargo::rerun-if-changed={}", directory.display());
        let mut files: Vec<PathBuf> =
            fs::read_dir(&directory)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
        files.sort();
        for file in files {
            embed(&file, &out, &mut table)?;
        }
    }
    table.push(']');
    fs::write(out.join("assets.rs"), table)?;
    fs::write(out.join("documents.rs"), documents(&web.join("../docs"))?)
}

/// Every page of the documentation with the name it has in addresses.
fn documents(directory: &Path) -> io::Result<String> {
    println!("cargo::rerun-if-changed={}", directory.display());
    let mut files: Vec<PathBuf> =
        fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    files.sort();
    let mut table = String::from("&[\n");
    for file in files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "md")) {
        println!("cargo::rerun-if-changed={}", file.display());
        let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default().to_lowercase();
        // `/docs/api` is the reference of every operation; this page tells what they have in common.
        let stem = if stem == "api" { "rest-api".to_owned() } else { stem };
        writeln!(table, "    ({stem:?}, include_str!({:?})),", file.canonicalize()?)
            .map_err(io::Error::other)?;
    }
    table.push(']');
    Ok(table)
}

fn embed(file: &Path, out: &Path, table: &mut String) -> io::Result<()> {
    println!("cargo::rerun-if-changed={}", file.display());
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let Some((stem, extension)) = name.rsplit_once('.') else { return Ok(()) };
    let Some(media_type) = media_type(extension) else { return Ok(()) };
    let bytes = fs::read(file)?;
    let hash: String = Sha256::digest(&bytes).iter().take(8).map(|byte| format!("{byte:02x}")).collect();

    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(&bytes)?;
    let mut brotli = Vec::new();
    let params = brotli::enc::BrotliEncoderParams::default();
    brotli::BrotliCompress(&mut bytes.as_slice(), &mut brotli, &params)?;

    for (suffix, content) in [("raw", bytes), ("gz", gzip.finish()?), ("br", brotli)] {
        fs::write(out.join(format!("{name}.{suffix}")), content)?;
    }
    let include = |suffix: &str| format!("include_bytes!(concat!(env!(\"OUT_DIR\"), \"/{name}.{suffix}\"))");
    writeln!(
        table,
        "    Asset {{ name: {name:?}, path: \"/assets/{stem}-{hash}.{extension}\", media_type: {media_type:?}, \
         raw: {}, gzip: {}, brotli: {} }},",
        include("raw"),
        include("gz"),
        include("br")
    )
    .map_err(io::Error::other)
}

/// What is served; other files (licences, notes) are not.
fn media_type(extension: &str) -> Option<&'static str> {
    Some(match extension {
        "css" => "text/css; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "svg" => "image/svg+xml",
        _ => return None,
    })
}
