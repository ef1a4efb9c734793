//! The files of the inspector: a page, its style, its modules, and the component, which folds in the page what it folds
//! here. Part of the program, so they are always those of this version.

use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, ETAG, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::super::{Response, answer, etag};

/// One file as it is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) struct File {
    name: &'static str,
    content_type: &'static str,
    body: &'static [u8],
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";
const WASM: &str = "application/wasm";

macro_rules! files {
    ($folder:expr; $($name:literal $content_type:ident),* $(,)?) => {
        [$(File { name: $name, content_type: $content_type, body: include_bytes!(concat!($folder, $name)) }),*]
    };
}

/// The pages come first: that of the inspector, that of the API document.
const FILES: [File; 20] = files![
    "page/"; "page.html" HTML, "api.html" HTML, "api.css" CSS, "document.js" JS, "style.css" CSS, "icon.svg" SVG, "main.js" JS, "api.js" JS, "dom.js" JS, "list.js" JS,
    "streams.js" JS, "arguments.js" JS, "content.js" JS, "reader.js" JS, "answer.js" JS, "timeline.js" JS, "stream.js" JS, "panels.js" JS,
    "actions.js" JS, "charts.js" JS,
];

/// What every page can have that folds with the component: `guest/embed/browser/README.md`.
const KIT: [File; 3] = files!["../../../../guest/embed/browser/"; "rejoin.js" JS, "component.js" JS, "resume.js" JS];

/// The component, as it is shipped.
const COMPONENT: [File; 1] = files![concat!(env!("OUT_DIR"), "/"); "rejoin.wasm" WASM];

/// Its own files and this server, nothing else; and no text ever becomes markup: browsers that know trusted types throw.
/// `wasm-unsafe-eval` lets it compile WebAssembly, which it can only fetch from here; it allows no JavaScript from text.
const POLICY: &str = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; connect-src 'self'; img-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'; trusted-types 'none'";

impl File {
    /// What `GET /` answers.
    pub(in crate::http) const PAGE: File = FILES[0];

    /// What `GET /inspector/api` answers.
    pub(in crate::http) const API: File = FILES[1];

    /// The file at `/inspector/<name>`. The pages have addresses of their own.
    pub(in crate::http) fn of(name: &str) -> Option<File> {
        let mut files = FILES[2..].iter().chain(&KIT).chain(&COMPONENT);
        files.find(|file| file.name == name).copied()
    }

    /// 304 when the browser has it already: it asks each time, so that it never mixes two versions.
    pub(in crate::http) fn answer(self, request: &HeaderMap) -> Response {
        let tag = etag::of(self.body);
        let mut response = match etag::matches(request, &tag) {
            true => answer::empty(StatusCode::NOT_MODIFIED),
            false => answer::text(StatusCode::OK, self.content_type, self.body),
        };
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(ETAG, tag);
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        response
    }
}

#[cfg(test)]
mod tests {
    use http::header::IF_NONE_MATCH;

    use super::*;

    fn all() -> impl Iterator<Item = File> {
        FILES.into_iter().chain(KIT).chain(COMPONENT)
    }

    fn code() -> impl Iterator<Item = File> {
        all().filter(|file| file.content_type == JS)
    }

    impl File {
        fn text(self) -> &'static str {
            std::str::from_utf8(self.body).expect("a text file")
        }
    }

    #[test]
    fn the_page_may_talk_to_this_server_only_and_runs_nothing_that_stands_in_it() {
        let policy = File::PAGE.answer(&HeaderMap::new()).headers()[CONTENT_SECURITY_POLICY].clone();
        let policy = policy.to_str().expect("ASCII");
        assert!(policy.starts_with("default-src 'none'") && policy.contains("connect-src 'self'"), "{policy}");
        assert_eq!(policy.matches("unsafe").count(), 1, "{policy}");
        assert!(policy.contains("script-src 'self' 'wasm-unsafe-eval';"), "{policy}");
        for part in [" style=\"", "<style", " onclick", "<script>"] {
            for page in [File::PAGE, File::API] {
                assert!(!page.text().contains(part), "{}: {part} would be refused", page.name);
            }
        }
    }

    #[test]
    fn a_browser_that_has_a_file_does_not_get_it_again() {
        for file in all() {
            let first = file.answer(&HeaderMap::new());
            assert_eq!(
                (first.status(), &first.headers()[CACHE_CONTROL]),
                (StatusCode::OK, &"no-cache".parse().expect("ASCII"))
            );
            let mut request = HeaderMap::new();
            request.insert(IF_NONE_MATCH, first.headers()[ETAG].clone());
            assert_eq!(file.answer(&request).status(), StatusCode::NOT_MODIFIED, "{}", file.name);
            request.insert(IF_NONE_MATCH, HeaderValue::from_static("\"0\""));
            assert_eq!(file.answer(&request).status(), StatusCode::OK, "{}", file.name);
        }
    }

    #[test]
    fn what_modules_import_is_served() {
        let mut imports = 0;
        for file in code() {
            for line in file.text().lines().filter(|line| line.starts_with("import ")) {
                let name = line.rsplit("'./").next().and_then(|rest| rest.strip_suffix("';"));
                let name = name.unwrap_or_else(|| panic!("{}: {line}", file.name));
                assert!(File::of(name).is_some(), "{}: {line}", file.name);
                imports += 1;
            }
        }
        assert!(imports > 10, "this test looks at nothing: {imports}");
        for part in [File::PAGE, File::API].iter().flat_map(|page| page.text().split("/inspector/").skip(1)) {
            let name = part.split('"').next().expect("a name");
            assert!(File::of(name).is_some() || name == "api", "{name}");
        }
    }

    #[test]
    fn the_component_is_served_as_webassembly() {
        let file = File::of("rejoin.wasm").expect("it is there");
        let response = file.answer(&HeaderMap::new());
        assert_eq!(response.headers()[http::header::CONTENT_TYPE], "application/wasm");
        assert_eq!(file.body[..8], *b"\0asm\x0d\0\x01\0", "a component, not its machine code");
    }

    #[test]
    fn no_module_makes_markup_of_text() {
        for file in code() {
            for word in
                ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "srcdoc", "DOMParser"]
            {
                assert!(!file.text().contains(word), "{} has {word}", file.name);
            }
            let kept = file.text().lines().filter(|line| line.contains("localStorage"));
            assert_eq!(kept.count(), 0, "{}: a token outlives its tab", file.name);
        }
    }

    #[test]
    fn each_file_is_read_in_one_sitting() {
        for file in FILES.into_iter().chain(KIT) {
            let (lines, widest) = (file.text().lines().count(), file.text().lines().map(str::len).max().unwrap_or(0));
            assert!(lines <= 420 && widest <= 180, "{}: {lines} lines, the widest {widest} bytes", file.name);
        }
    }
}
