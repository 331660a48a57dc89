//! A browser as far as the gateway can tell: navigations with Sec-Fetch fields, a real cookie jar, forms, redirects by hand.

use std::net::SocketAddr;

use cookie_store::CookieStore;
use url::Url;

use super::gateway::PASSWORD;
use super::wire::{Wire, WireResponse};

pub struct TestBrowser {
    address: SocketAddr,
    /// What the address bar says before the path; `https` once it goes through a TLS terminator.
    pub base: Url,
    pub jar: CookieStore,
    /// Fields added to every request.
    pub extra: Vec<(String, String)>,
}

impl TestBrowser {
    pub fn new(address: SocketAddr) -> Self {
        let base = Url::parse(&format!("http://{address}/")).unwrap();
        Self { address, base, jar: CookieStore::default(), extra: Vec::new() }
    }

    /// Goes to a page, as by a click or the address bar. Redirects are not followed.
    pub fn open(&mut self, path: &str) -> WireResponse {
        self.request(
            "GET",
            path,
            &[
                ("Sec-Fetch-Mode", "navigate"),
                ("Sec-Fetch-Dest", "document"),
                ("Sec-Fetch-Site", "none"),
                ("Accept", "text/html"),
            ],
            b"",
        )
    }

    /// Fetches as a script of the page does.
    pub fn fetch(&mut self, path: &str) -> WireResponse {
        self.request(
            "GET",
            path,
            &[
                ("Sec-Fetch-Mode", "cors"),
                ("Sec-Fetch-Dest", "empty"),
                ("Sec-Fetch-Site", "same-origin"),
                ("Accept", "*/*"),
            ],
            b"",
        )
    }

    /// Sends a form from one of the gateway's own pages.
    pub fn submit(&mut self, path: &str, fields: &[(&str, &str)]) -> WireResponse {
        self.post(
            path,
            &[
                ("Sec-Fetch-Mode", "navigate"),
                ("Sec-Fetch-Dest", "document"),
                ("Sec-Fetch-Site", "same-origin"),
                ("Accept", "text/html"),
            ],
            fields,
        )
    }

    /// Sends a form with exactly these header fields besides Host, Cookie and Content-Type.
    pub fn post(&mut self, path: &str, headers: &[(&str, &str)], fields: &[(&str, &str)]) -> WireResponse {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let mut headers = headers.to_vec();
        headers.push(("Content-Type", "application/x-www-form-urlencoded"));
        self.request("POST", path, &headers, body.as_bytes())
    }

    /// Signs in through the form and answers where it leads.
    pub fn log_in(&mut self, user: &str) -> WireResponse {
        let response = self.log_in_with(user, PASSWORD, "/");
        assert_eq!(response.status, 303, "{user} is let in: {}", response.text());
        response
    }

    pub fn log_in_with(&mut self, user: &str, password: &str, return_to: &str) -> WireResponse {
        self.submit("/_auth/login", &[("username", user), ("password", password), ("return_to", return_to)])
    }

    pub fn log_out(&mut self) -> WireResponse {
        self.submit("/_auth/logout", &[])
    }

    /// One request on a connection of its own.
    pub fn request(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> WireResponse {
        let url = self
            .base
            .join("/")
            .unwrap()
            .join(path.split('?').next().unwrap())
            .unwrap_or_else(|_| self.base.clone());
        let cookies: Vec<String> =
            self.jar.get_request_values(&url).map(|(name, value)| format!("{name}={value}")).collect();
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\n",
            &self.base[url::Position::BeforeHost..url::Position::AfterPort]
        );
        if !cookies.is_empty() {
            head += &format!("Cookie: {}\r\n", cookies.join("; "));
        }
        for (name, value) in
            headers.iter().copied().chain(self.extra.iter().map(|(n, v)| (n.as_str(), v.as_str())))
        {
            head += &format!("{name}: {value}\r\n");
        }
        if !body.is_empty() || method == "POST" {
            head += &format!("Content-Length: {}\r\n", body.len());
        }
        head += "\r\n";
        let mut wire = Wire::connect(self.address);
        wire.send(head).try_send(body);
        let response = wire.receive_to(method).expect("the gateway answers");
        for cookie in response.all("set-cookie") {
            let _ = self.jar.parse(cookie, &url);
        }
        response
    }

    /// The session cookie's name and value.
    pub fn session_cookie(&self) -> Option<(String, String)> {
        let ours = |cookie: &&cookie_store::Cookie<'_>| cookie.name().ends_with("fluidgate");
        self.jar
            .iter_unexpired()
            .find(ours)
            .map(|cookie| (cookie.name().to_owned(), cookie.value().to_owned()))
    }
}
