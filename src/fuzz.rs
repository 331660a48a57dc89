//! Every fuzz target by name. The bodies stand in the module whose readings they judge (`fuzz.rs` there), so that the targets
//! in `fuzz/` and the replay of their seeds below say the same.

/// What a target does with one input: it panics when something does not hold that must hold of every input.
pub type Body = fn(&[u8]);

/// The targets: name and body.
pub const TARGETS: &[(&str, Body)] = &[
    ("admin", crate::gateway::fuzz::admin),
    ("certificate", crate::server::fuzz::certificate),
    ("config", crate::config::fuzz::config),
    ("cookie", crate::web::fuzz::cookie),
    ("export_file", crate::session::fuzz::export_file),
    ("firewall", crate::gateway::fuzz::firewall),
    ("form", crate::gateway::fuzz::form),
    ("forwarded", crate::web::fuzz::forwarded),
    ("head", crate::web::fuzz::head),
    ("host", crate::web::fuzz::host),
    ("logs", crate::observe::fuzz::logs),
    ("pages", crate::pages::fuzz::pages),
    ("password_hash", crate::login::fuzz::password_hash),
    ("preface", crate::server::fuzz::preface),
    ("proxy_header", crate::server::fuzz::proxy_header),
    ("redis", crate::session::fuzz::redis),
    ("response", crate::gateway::fuzz::response),
    ("return_to", crate::web::fuzz::return_to),
    ("secret", crate::config::fuzz::secret),
    ("session_cookie", crate::session::fuzz::session_cookie),
    ("set_cookie", crate::session::fuzz::set_cookie),
    ("stored", crate::session::fuzz::stored),
    ("target", crate::web::fuzz::target),
    ("trace", crate::web::fuzz::trace),
    ("upgrade", crate::web::fuzz::upgrade),
    ("users", crate::login::fuzz::users),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::panic::catch_unwind;
    use std::path::{Path, PathBuf};

    use super::*;

    const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz");
    /// A seed folder is a start for a fuzzer and a test, no archive of everything that it ever tried.
    const MOST_FILES: usize = 50;
    const MOST_BYTES: u64 = 100 * 1024;

    fn entries(folder: impl AsRef<Path>) -> Vec<PathBuf> {
        let mut found: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        found.sort();
        found
    }

    fn stems(folder: &str) -> BTreeSet<String> {
        let paths = entries(Path::new(FOLDER).join(folder)).into_iter();
        paths.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn every_target_has_a_program_a_body_and_seeds() {
        let bodies: BTreeSet<_> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(stems("fuzz_targets"), bodies, "a program in fuzz/fuzz_targets, a body in TARGETS");
        assert_eq!(stems("seeds"), bodies, "a folder in fuzz/seeds, a body in TARGETS");
        let manifest = fs::read_to_string(Path::new(FOLDER).join("Cargo.toml")).unwrap();
        for name in &bodies {
            let bin = format!("[[bin]]\nname = \"{name}\"\npath = \"fuzz_targets/{name}.rs\"\n");
            assert!(manifest.contains(&bin), "{name} stands in fuzz/Cargo.toml");
            let program = fs::read_to_string(format!("{FOLDER}/fuzz_targets/{name}.rs")).unwrap();
            let named = program.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == name);
            assert!(named, "the program of {name} runs the body of that name: {program}");
            let seeds = entries(format!("{FOLDER}/seeds/{name}"));
            let size: u64 = seeds.iter().map(|seed| seed.metadata().unwrap().len()).sum();
            assert!((1..=MOST_FILES).contains(&seeds.len()), "{name}: {} seeds", seeds.len());
            assert!(size <= MOST_BYTES, "{name}: {size} bytes of seeds");
        }
    }

    #[test]
    fn every_seed_of_every_target_holds_what_the_target_asserts() {
        let mut failed = Vec::new();
        for (name, body) in TARGETS {
            for seed in entries(format!("{FOLDER}/seeds/{name}")) {
                let bytes = fs::read(&seed).unwrap();
                // Every prefix too: what arrives is often cut.
                let cuts = [bytes.len(), bytes.len() / 2, bytes.len() / 3, 0];
                if catch_unwind(|| cuts.iter().for_each(|cut| body(&bytes[..*cut]))).is_err() {
                    failed.push(seed);
                }
            }
        }
        assert!(failed.is_empty(), "{failed:?}");
    }
}
