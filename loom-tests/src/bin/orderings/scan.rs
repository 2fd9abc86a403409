//! Finds the orderings in the sources, and makes a copy of the tree in which each of them has a number.

use std::fmt;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::Failure;

/// The crates whose orderings are weakened, and the path by which each reaches the core's `sync`.
const CRATES: [(&str, &str); 3] = [
    ("genpool-core", "crate::sync"),
    ("genpool-devm", "genpool_core::sync"),
    ("genpool-dma", "genpool_core::sync"),
];

/// The crate that no model covers: it has no atomics, only fences towards devices.
const UNMODELLED: &str = "genpool-dma";

/// Left out, because these orderings are the models' own, not the pool's.
const SHIM: &str = "genpool-core/src/sync";

/// How a site's comment begins that explains why no model notices a weakening.
const EXCUSE: &str = "Not caught: ";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Load,
    Store,
    Change,
    /// The refusal of a compare-exchange.
    Refusal,
    Fence,
}

/// An ordering above `Relaxed` in the sources.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    pub(crate) file: String,
    pub(crate) line: usize,
    pub(crate) function: String,
    pub(crate) kind: Kind,
    pub(crate) ordering: &'static str,
    pub(crate) excuse: Option<String>,
    /// The fingerprint of the file's code without comments.
    pub(crate) fingerprint: u64,
    /// The number of the site in its file.
    pub(crate) place: usize,
    /// The bytes to replace in the file: the start and the length.
    start: usize,
    len: usize,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Load => "load",
            Self::Store => "store",
            Self::Change => "read-modify-write",
            Self::Refusal => "refused exchange",
            Self::Fence => "fence",
        })
    }
}

impl Site {
    pub(crate) fn is_modelled(&self) -> bool {
        !self.file.starts_with(UNMODELLED)
    }

    /// Returns the next weaker orderings.
    pub(crate) fn one_step_down(&self) -> &'static [&'static str] {
        match (self.ordering, self.kind) {
            ("SeqCst", Kind::Change | Kind::Fence) => &["AcqRel"],
            ("SeqCst", Kind::Load | Kind::Refusal) => &["Acquire"],
            ("SeqCst", Kind::Store) => &["Release"],
            ("AcqRel", _) => &["Acquire", "Release"],
            _ => &["Relaxed"],
        }
    }

    /// Returns the orderings further down. A fence cannot be `Relaxed`.
    pub(crate) fn two_steps_down(&self) -> &'static [&'static str] {
        match (self.ordering, self.kind) {
            ("SeqCst", Kind::Change) => &["Acquire", "Release"],
            ("SeqCst", _) => &["Relaxed"],
            _ => &[],
        }
    }

    /// Returns what replaces the models' own fences in loom, to be tried in turn.
    ///
    /// First none: loom lets a `SeqCst` load read nothing older than the last `SeqCst` store, which is what a single
    /// access needs. Then, if the site loses `SeqCst`, the fences that accesses stand for, on this side only: those of
    /// the other side would hide that one is missing. Otherwise the models' own, because some models need them.
    pub(crate) fn fences(&self, weaker: &str) -> &'static [&'static str] {
        match self.kind {
            Kind::Fence => &[""],
            _ if self.ordering != "SeqCst" || self.two_steps_down().contains(&weaker) => {
                &["none", ""]
            }
            Kind::Load | Kind::Refusal => &["none", "reads"],
            Kind::Store | Kind::Change => &["none", "writes"],
        }
    }
}

/// Returns all sites, in the order of files and lines.
pub(crate) fn sites() -> Result<Vec<Site>, Failure> {
    let mut sites = Vec::new();
    for file in tracked()? {
        let in_crate = |(name, _): &(&str, &str)| file.starts_with(&format!("{name}/src/"));
        let is_left_out = file.starts_with(SHIM) || file.ends_with("/tests.rs");
        if CRATES.iter().any(in_crate) && file.ends_with(".rs") && !is_left_out {
            let text = fs::read_to_string(&file)?;
            sites.extend(sites_of(&file, &text)?);
        }
    }
    Ok(sites)
}

fn tracked() -> Result<Vec<String>, Failure> {
    let listed = Command::new("git").arg("ls-files").output()?;
    Ok(String::from_utf8(listed.stdout)?
        .lines()
        .map(String::from)
        .collect())
}

fn sites_of(file: &str, text: &str) -> Result<Vec<Site>, Failure> {
    let mut code = code_of(text);
    // Tests are at the end of a file, or in a file of their own.
    let tests = code.find("\nmod tests {");
    code.truncate(tests.unwrap_or(code.len()));
    let fingerprint = fingerprint(&code);
    let mut sites = Vec::new();
    for (start, _) in code.match_indices("Ordering::") {
        let name = &code[start + "Ordering::".len()..];
        let known = ["SeqCst", "AcqRel", "Acquire", "Release"];
        let Some(ordering) = known.into_iter().find(|known| name.starts_with(known)) else {
            continue;
        };
        let mut site = Site {
            file: file.into(),
            line: 1 + text[..start].matches('\n').count(),
            function: function_around(&code[..start]).into(),
            kind: kind_of(&code, start),
            ordering,
            excuse: None,
            fingerprint,
            place: sites.len(),
            start,
            len: "Ordering::".len() + ordering.len(),
        };
        site.excuse = excuse_of(text, site.line);
        if site.kind == Kind::Fence {
            let call = code[..start]
                .rfind("fence(")
                .ok_or("a fence without a call")?;
            site.start = call;
            site.len += start - call;
        }
        sites.push(site);
    }
    let bare = ["SeqCst", "AcqRel"].map(|name| code.matches(name).count());
    let strong = sites
        .iter()
        .filter(|site| matches!(site.ordering, "SeqCst" | "AcqRel"));
    if bare.iter().sum::<usize>() != strong.count() {
        return Err(format!("{file}: an ordering is not written as Ordering::…").into());
    }
    Ok(sites)
}

/// Returns the text with comments and the contents of quotes blanked out, at the same length in bytes.
pub(crate) fn code_of(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if first == '"' {
            let mut escaped = true;
            let ends = |c| {
                let end = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                end
            };
            rest.find(ends).map_or(rest.len(), |end| end + 1)
        } else {
            0
        };
        if skipped == 0 {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            let blank = |byte| if byte == b'\n' { '\n' } else { ' ' };
            code.extend(rest.bytes().take(skipped).map(blank));
            rest = &rest[skipped..];
        }
    }
    code
}

/// Returns the name of the last function that begins in `before`.
fn function_around(before: &str) -> &str {
    let named = before.rfind("fn ").map_or("", |at| &before[at + 3..]);
    let end = named.find(|c: char| !c.is_alphanumeric() && c != '_');
    &named[..end.unwrap_or(named.len())]
}

/// Returns what kind of access the call is that has the ordering at `start` as an argument.
fn kind_of(code: &str, start: usize) -> Kind {
    let mut depth = 0_usize;
    let opening = code[..start].rfind(|c| {
        match c {
            ')' => depth += 1,
            '(' if depth == 0 => return true,
            '(' => depth -= 1,
            _ => {}
        }
        false
    });
    let Some(opening) = opening else {
        return Kind::Change;
    };
    let before = code[..opening].trim_end();
    let called = before.rfind(|c: char| !c.is_alphanumeric() && c != '_');
    match &before[called.map_or(0, |at| at + 1)..] {
        "load" => Kind::Load,
        "store" => Kind::Store,
        "fence" => Kind::Fence,
        "compare_exchange" | "compare_exchange_weak" => {
            let arguments = &code[opening..start];
            // The ordering of success comes first; a function may compute it.
            let first = !arguments.contains("Ordering::") && !arguments.contains("_order()");
            if first { Kind::Change } else { Kind::Refusal }
        }
        _ => Kind::Change,
    }
}

/// Returns the excuse in the comment before the statement in this line, or before an earlier line of that statement.
fn excuse_of(text: &str, line: usize) -> Option<String> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let is_comment = |at: usize| lines[at].starts_with("//");
    let mut first = line - 1;
    while first > 0 && !is_comment(first - 1) {
        if lines[first - 1].is_empty() || lines[first - 1].ends_with([';', '{', '}']) {
            return None;
        }
        first -= 1;
    }
    let begin = (0..first).rev().take_while(|&at| is_comment(at)).last()?;
    let words: Vec<&str> = lines[begin..first]
        .iter()
        .map(|line| line.trim_start_matches('/').trim())
        .collect();
    let words = words.join(" ");
    let at = words.find(EXCUSE)?;
    Some(words[at + EXCUSE.len()..].into())
}

/// FNV-1a, which need not stay the same across versions.
pub(crate) fn fingerprint(text: &str) -> u64 {
    let words = text
        .split_whitespace()
        .flat_map(|word| word.bytes().chain([b' ']));
    words.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    })
}

/// The code that the copy's `sync` has in addition.
const WEAKENED: &str = r#"
/// Which site is weakened, and to what.
struct Weakened {
    site: usize,
    to: Option<Ordering>,
}

/// `GENPOOL_WEAKENED` is a site's number and an ordering.
fn chosen() -> &'static Weakened {
    static CHOSEN: std::sync::OnceLock<Weakened> = std::sync::OnceLock::new();
    CHOSEN.get_or_init(|| {
        let given = std::env::var("GENPOOL_WEAKENED").unwrap_or_default();
        let (site, to) = given.split_once(' ').unwrap_or_default();
        let to = match to {
            "Acquire" => Some(Ordering::Acquire),
            "Release" => Some(Ordering::Release),
            "AcqRel" => Some(Ordering::AcqRel),
            _ => None,
        };
        let site = site.parse().unwrap_or(usize::MAX);
        Weakened { site, to }
    })
}

/// Says once of each site that it was come by, if `GENPOOL_SITES` is there.
fn come_by(site: usize) {
    static ASKED: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    static SEEN: [std::sync::atomic::AtomicBool; 512] =
        [const { std::sync::atomic::AtomicBool::new(false) }; 512];
    let asked = *ASKED.get_or_init(|| std::env::var("GENPOOL_SITES").is_ok());
    if asked && !SEEN[site].swap(true, std::sync::atomic::Ordering::Relaxed) {
        std::println!("site {site}");
    }
}

/// The ordering of a site.
pub fn weakened(site: usize, reads: bool, writes: bool, ordering: Ordering) -> Ordering {
    come_by(site);
    let ordering = match chosen() {
        weakened if weakened.site == site => weakened.to.unwrap_or(Ordering::Relaxed),
        _ => ordering,
    };
    if reads || writes {
        mapped::access(writes, ordering);
    }
    if chosen().site != site && !reads && ordering == Ordering::Release {
        return mapped::stored(ordering);
    }
    ordering
}

/// loom takes `SeqCst` accesses for little more than `AcqRel`. They are what compilers make of them where
/// there are only fences: one before each load, or one after each that writes. `GENPOOL_FENCES` says which.
#[cfg(all(genpool_loom, not(genpool_machine)))]
mod mapped {
    use super::{Ordering, fence};

    fn asked() -> &'static str {
        static ASKED: std::sync::OnceLock<std::string::String> = std::sync::OnceLock::new();
        ASKED.get_or_init(|| std::env::var("GENPOOL_FENCES").unwrap_or_default())
    }

    /// Whether these take the place of the fences that the models have.
    pub(super) fn is_asked() -> bool {
        !asked().is_empty()
    }

    // Where loom has no fences, its `SeqCst` loads stand for themselves. They pass over what is older than a
    // `SeqCst` store, as they should, but only if it was stored with `SeqCst` as well. So that is how an
    // atomic begins, and how it is stored to before the threads begin, and by a release that is no more
    // than a store.

    /// An atomic that begins with what `store` stores.
    pub(crate) fn begun<A>(atomic: A, store: impl FnOnce(&A)) -> A {
        if asked() == "none" {
            store(&atomic);
        }
        atomic
    }

    /// The ordering of such a store.
    pub(crate) fn stored(ordering: Ordering) -> Ordering {
        if asked() == "none" {
            Ordering::SeqCst
        } else {
            ordering
        }
    }

    loom::thread_local! {
        // The fence after a write is made before the thread's next access.
        static OWED: core::cell::Cell<bool> = core::cell::Cell::new(false);
    }

    pub(super) fn access(writes: bool, ordering: Ordering) {
        let strong = ordering == Ordering::SeqCst;
        match asked() {
            "reads" if strong && !writes => fence(Ordering::SeqCst),
            "writes" => OWED.with(|owed| {
                if owed.get() {
                    fence(Ordering::SeqCst);
                }
                owed.set(strong && writes);
            }),
            _ => {}
        }
    }
}

#[cfg(all(genpool_loom, not(genpool_machine)))]
pub(crate) use mapped::{begun, stored};

#[cfg(not(all(genpool_loom, not(genpool_machine))))]
mod mapped {
    pub(super) fn is_asked() -> bool {
        false
    }

    pub(super) fn access(_writes: bool, _ordering: super::Ordering) {}

    pub(super) fn stored(ordering: super::Ordering) -> super::Ordering {
        ordering
    }
}

/// See `mapped`.
pub(crate) fn is_mapped() -> bool {
    mapped::is_asked()
}

/// The fence of a site.
pub fn weakened_fence(site: usize, ordering: Ordering) {
    come_by(site);
    match chosen() {
        weakened if weakened.site == site => weakened.to.into_iter().for_each(fence),
        _ => fence(ordering),
    }
}
"#;

/// The replacements in the copy's `sync`, by file: the models' own fences, how atomics begin, and how they are stored
/// to by the thread that prepares the others' work.
const EXCHANGED: [(&str, &str, &str); 3] = [
    (
        "model/mod.rs",
        "if !cfg!(genpool_machine) {",
        "if !cfg!(genpool_machine) && !super::is_mapped() {",
    ),
    (
        "model/mended.rs",
        "value: loom::sync::atomic::$name::new(value),",
        "value: crate::sync::begun(loom::sync::atomic::$name::new(value), |begun| {
            begun.store(value, Ordering::SeqCst)
        }),",
    ),
    (
        "model/mended.rs",
        "self.value.store(value, order);",
        "let order = if thread() == 0 { crate::sync::stored(order) } else { order };
        self.value.store(value, order);",
    ),
];

/// Copies the files that git tracks to `tree`, with a number at each of `sites`. Files that do not change are left
/// alone, so that little is rebuilt.
pub(crate) fn copy(tree: &Path, sites: &[Site]) -> Result<(), Failure> {
    let files = tracked()?;
    let shim = format!("{SHIM}/mod.rs");
    let changed = EXCHANGED.map(|(name, ..)| format!("{SHIM}/{name}"));
    if let Some(missing) = changed
        .iter()
        .chain([&shim])
        .find(|file| !files.contains(file))
    {
        return Err(format!("{missing} is not there").into());
    }
    for file in files {
        let mut content = fs::read(&file)?;
        for (number, site) in sites.iter().enumerate().rev() {
            if site.file != file || !site.is_modelled() {
                continue;
            }
            let (_, path) = CRATES
                .into_iter()
                .find(|(name, _)| file.starts_with(&format!("{name}/")))
                .ok_or("a site in no crate")?;
            let ordering = site.ordering;
            let call = match site.kind {
                Kind::Fence => format!("{path}::weakened_fence({number}, Ordering::{ordering}"),
                kind => {
                    let reads = matches!(kind, Kind::Load | Kind::Change);
                    let writes = matches!(kind, Kind::Store | Kind::Change);
                    format!("{path}::weakened({number}, {reads}, {writes}, Ordering::{ordering})")
                }
            };
            content.splice(site.start..site.start + site.len, call.into_bytes());
        }
        if file == shim {
            content.extend(WEAKENED.as_bytes());
        }
        for (name, from, to) in EXCHANGED {
            if file == format!("{SHIM}/{name}") {
                let text = String::from_utf8(content)?;
                if !text.contains(from) {
                    return Err(format!("{file}: `{from}` is not where it was").into());
                }
                content = text.replace(from, to).into_bytes();
            }
        }
        let copied = tree.join(&file);
        if fs::read(&copied).ok().as_ref() != Some(&content) {
            fs::create_dir_all(copied.parent().ok_or("a file in no folder")?)?;
            fs::write(copied, content)?;
        }
    }
    Ok(())
}
