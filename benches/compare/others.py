"""What fluidgate is compared with, each with one worker on core 0 where nothing else is said, no access log, connections
kept alive on both sides, and one certificate: nginx, nginx with auth_request, HAProxy, Caddy, Caddy with forward_auth, and
oauth2-proxy.

Those that know no sessions add a constant identity; the others take it from a live session of oauth2-proxy's. All but
oauth2-proxy, which cannot, add the nine headers that fluidgate adds.
"""

import base64
import hashlib
import secrets

from peers import GROUP, PASSWORD, PROXY_CORE, USER, Unmeasurable, free_port, program

ONE_THREAD = {"GOMAXPROCS": "1"}  # what Go would choose by itself on one core; said, so that it is sure
KEPT = "keepalive 64; keepalive_requests 1000000000;"


# What fluidgate tells an upstream beside the identity, in nginx's words.
FORWARDED = {
    "X-Forwarded-For": "$remote_addr", "X-Real-IP": "$remote_addr", "X-Forwarded-Proto": "$scheme",
    "X-Forwarded-Port": "$server_port", "X-Forwarded-Host": "$http_host", "X-Request-Id": "$request_id", "Via": '"1.1 nginx"',
}  # fmt: skip


def nginx(
    rig, upstream, name="nginx proxy_pass", session=None, block="", connections=1024, user=USER, group=GROUP, forwarded=True,
    core=PROXY_CORE, workers=1,
):  # fmt: skip
    """nginx in front of the upstream; `session` says how it asks who this is, and is the inside of that location."""
    block += f"upstream app {{ server 127.0.0.1:{upstream}; {KEPT} }}"
    # Large bodies: never to the disk, neither up nor down, as with the others.
    server = (
        f"location / {{ {'auth_request /session;' if session else ''} proxy_pass http://app; proxy_http_version 1.1;"
        ' proxy_set_header Connection ""; proxy_set_header Host $http_host;'
        " proxy_max_temp_file_size 0; proxy_request_buffering off;"
    )
    if user == "$user":
        server += " auth_request_set $user $upstream_http_x_auth_request_user;"
        server += " auth_request_set $groups $upstream_http_x_auth_request_groups;"
    headers = {"Remote-User": user, "Remote-Groups": group, **(FORWARDED if forwarded else {})}
    server += "".join(f" proxy_set_header {field} {value};" for field, value in headers.items()) + " }"
    if session:
        server += f"\nlocation = /session {{ internal; {session} }}"
    return rig.nginx(name, core, server, block, connections, tls=True, workers=workers)


def nginx_bare(rig, upstream):
    """nginx that adds the two identity headers only."""
    return nginx(rig, upstream, "nginx proxy_pass, two headers", forwarded=False)


def nginx_constant(rig, upstream):
    """auth_request whose answer is a constant of the same worker: the least that auth_request can cost."""
    return nginx(rig, upstream, "nginx auth_request, constant", "return 204;")


def nginx_asking(rig, upstream):
    """auth_request as it is deployed: the question goes to oauth2-proxy, whose session is live and whose cost counts."""
    name = "nginx auth_request, oauth2-proxy"
    service = oauth2_proxy(rig, "static://202", f"{name} (service)")
    question = (
        "proxy_pass http://service/oauth2/auth; proxy_http_version 1.1; proxy_pass_request_body off;"
        ' proxy_set_header Connection ""; proxy_set_header Content-Length ""; proxy_set_header Host $host;'
        " proxy_set_header X-Original-URI $request_uri;"
    )
    block = f"upstream service {{ server 127.0.0.1:{service.port}; {KEPT} }}\n"
    peer = nginx(rig, upstream, name, question, block, user="$user", group="$groups")
    peer.also, peer.cookie = [service], service.cookie
    return peer


def hyper(rig, upstream, program, name):
    """The HTTP library that fluidgate is built on, forwarding and adding nine fields, and doing nothing else."""
    if not program:
        raise Unmeasurable("benches/floor is not built")
    port = free_port()
    return rig.start(name, [program, f"127.0.0.1:{port}", f"127.0.0.1:{upstream}"], PROXY_CORE, port)


def haproxy(rig, upstream, connections=1024):
    # By default it closes idle connections to the upstream when a fifth of its files are open, as with many idle clients.
    port, secure = free_port(), free_port()
    config = rig.home("HAProxy") / "haproxy.cfg"
    config.write_text(
        f"""global
  nbthread 1
  maxconn {connections}
  tune.pool-high-fd-ratio 100
  tune.pool-low-fd-ratio 99
defaults
  mode http
  timeout connect 5s
  timeout client 600s
  timeout server 600s
  timeout http-keep-alive 600s
  option http-keep-alive
  http-reuse always
frontend public
  bind 127.0.0.1:{port}
  bind 127.0.0.1:{secure} ssl crt {rig.certificate()[2]} alpn h2,http/1.1
  default_backend app
backend app
  http-request set-header Remote-User {USER}
  http-request set-header Remote-Groups {GROUP}
  http-request set-header X-Forwarded-For %[src]
  http-request set-header X-Real-IP %[src]
  http-request set-header X-Forwarded-Proto %[ssl_fc,iif(https,http)]
  http-request set-header X-Forwarded-Port %[dst_port]
  http-request set-header X-Forwarded-Host %[req.hdr(Host)]
  http-request set-header X-Request-Id %[uuid()]
  http-request set-header Via "1.1 HAProxy"
  server one 127.0.0.1:{upstream}
"""
    )
    return rig.start("HAProxy", [program("haproxy"), "-db", "-f", config], PROXY_CORE, port, tls=secure)


def caddy(rig, upstream, name="Caddy", before="", identity=True):
    port, secure = free_port(), free_port()
    home = rig.home(name)
    chain, key, _ = rig.certificate()
    # The others of these headers it adds by itself.
    added = {"X-Real-IP": "{remote_host}", "X-Forwarded-Port": "{http.request.local.port}", "X-Request-Id": "{http.request.uuid}"}
    added |= {"Remote-User": USER, "Remote-Groups": GROUP} if identity else {}
    add = "\n    ".join(f"header_up {field} {value}" for field, value in added.items())
    site = f"""{before}
  reverse_proxy 127.0.0.1:{upstream} {{
    {add}
    transport http {{
      keepalive_idle_conns_per_host 64
    }}
  }}"""
    (home / "Caddyfile").write_text(
        f"""{{
  admin off
  auto_https off
  persist_config off
  servers {{
    protocols h1 h2
  }}
}}
http://127.0.0.1:{port} {{
  bind 127.0.0.1
  {site}
}}
https://127.0.0.1:{secure} {{
  bind 127.0.0.1
  tls {chain} {key}
  {site}
}}
"""
    )
    environment = {**ONE_THREAD, "XDG_DATA_HOME": str(home), "XDG_CONFIG_HOME": str(home), "HOME": str(home)}
    argv = [program("caddy"), "run", "--config", home / "Caddyfile", "--adapter", "caddyfile"]
    return rig.start(name, argv, PROXY_CORE, port, environment, tls=secure)


def caddy_asking(rig, upstream):
    """Caddy that asks oauth2-proxy who this is, as nginx does with auth_request."""
    name = "Caddy forward_auth, oauth2-proxy"
    service = oauth2_proxy(rig, "static://202", f"{name} (service)")
    before = f"""forward_auth 127.0.0.1:{service.port} {{
    uri /oauth2/auth
    copy_headers X-Auth-Request-User>Remote-User X-Auth-Request-Groups>Remote-Groups
    transport http {{
      keepalive_idle_conns_per_host 64
    }}
  }}"""
    peer = caddy(rig, upstream, name, before, identity=False)
    peer.also, peer.cookie = [service], service.cookie
    return peer


def oauth2_proxy(rig, upstream, name="oauth2-proxy", tls=False):
    """oauth2-proxy with its cookie store and a live session, signed in through its form; the provider's settings are never used.

    It listens either plainly or with TLS: for both there are two of them, with one secret.
    """
    home, port = rig.home(name), free_port()
    users, secret = home / "htpasswd", home / "cookie-secret"
    for file, text in (
        (users, f"{USER}:{{SHA}}{base64.b64encode(hashlib.sha1(PASSWORD.encode()).digest()).decode()}\n"),
        (secret, secrets.token_hex(16)),
    ):
        file.touch(mode=0o600)
        file.write_text(text)
    argv = [
        program("oauth2-proxy"), f"--upstream={upstream}", "--provider=github", "--client-id=none", "--client-secret=none",
        f"--cookie-secret-file={secret}", "--cookie-secure=false", "--email-domain=*", f"--htpasswd-file={users}",
        f"--htpasswd-user-group={GROUP}", "--set-xauthrequest=true",
        "--request-logging=false", "--auth-logging=false", "--standard-logging=false",
    ]  # fmt: skip
    peer = rig.start(name, [*argv, f"--http-address=127.0.0.1:{port}"], PROXY_CORE, port, ONE_THREAD)
    peer.cookie = rig.log_in(port, "/oauth2/sign_in", {"username": USER, "password": PASSWORD, "rd": "/"}, 302)
    if tls:
        chain, key, _ = rig.certificate()
        peer.tls = free_port()
        argv += [f"--https-address=127.0.0.1:{peer.tls}", f"--tls-cert-file={chain}", f"--tls-key-file={key}"]
        peer.also = [rig.start(f"{name} over TLS", argv, PROXY_CORE, peer.tls, ONE_THREAD)]
    return peer
