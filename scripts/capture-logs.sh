#!/usr/bin/env bash
#
# capture-logs.sh - make the log files in testdata/logs again.
#
# Starts a real nginx (with a small Python application behind it) and a real
# PostgreSQL server in a temporary directory, drives them with clients, makes
# a number of things go wrong on purpose, and copies what the two servers
# wrote, unedited, to
#
#     testdata/logs/nginx-access.log   nginx access log, "combined" format
#     testdata/logs/nginx-error.log    nginx error log, level info
#     testdata/logs/postgresql.log     PostgreSQL server log (stderr)
#
# Usage:  scripts/capture-logs.sh            (about three minutes)
#         OUT=/some/dir scripts/capture-logs.sh
#
# Needs (Debian packages): nginx apache2-utils curl python3 postgresql
# When run as root, packages that are absent are installed with
# "apt-get install --no-install-recommends", without starting a service and
# without creating a PostgreSQL cluster. When run as another user, the script
# says what is missing and stops. PG_BIN can name the directory of the
# PostgreSQL programs; the default is the newest /usr/lib/postgresql/*/bin.
#
# All traffic stays on the loopback interface (127.0.0.1; some web clients
# use 127.0.0.2 .. 127.0.0.20 as their source address). Servers listen on
# 127.0.0.1 on free unprivileged ports and are ended by their pid on exit.
# When run as root, nginx runs as www-data and PostgreSQL as postgres.
#
# The plan of requests and statements comes from fixed seeds; times, process
# ids, ports and the order in which concurrent clients get served do not, so
# a new capture resembles the old one but is not identical to it.

set -euo pipefail

export LC_ALL=C TZ=UTC
unset http_proxy https_proxy all_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY
unset PGHOST PGPORT PGUSER PGDATABASE PGPASSWORD PGSERVICE PGOPTIONS PGAPPNAME
export PATH="$PATH:/usr/sbin:/sbin"

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
OUT=${OUT:-$repo/testdata/logs}

say() { printf '%s %s\n' "$(date +%H:%M:%S)" "$*" >&2; }
die() { printf 'capture-logs.sh: %s\n' "$*" >&2; exit 1; }

# --- what is needed ---------------------------------------------------------

find_pg_bin() {
  local d
  if [[ -n ${PG_BIN:-} ]]; then
    printf '%s\n' "$PG_BIN"
    return
  fi
  for d in /usr/lib/postgresql/*/bin; do
    if [[ -x $d/postgres && -x $d/pgbench ]]; then printf '%s\n' "$d"; fi
  done | sort -V | tail -n 1
}

find_python() { # Debian's, which every user may run, before others
  if [[ -x /usr/bin/python3 ]]; then echo /usr/bin/python3; else command -v python3 || true; fi
}

missing_packages() {
  command -v nginx >/dev/null || echo nginx
  command -v ab >/dev/null || echo apache2-utils
  command -v curl >/dev/null || echo curl
  [[ -n $(find_python) ]] || echo python3
  [[ -n $(find_pg_bin) ]] || echo postgresql
}

policy=/usr/sbin/policy-rc.d
made_policy=

install_packages() {
  local -a apt=(env DEBIAN_FRONTEND=noninteractive apt-get -y -q)
  "${apt[@]}" update
  if [[ ! -e $policy ]]; then # no package may start its service
    made_policy=yes
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
  fi
  if [[ " $* " == *" postgresql "* ]]; then # no default cluster
    "${apt[@]}" install --no-install-recommends postgresql-common
    mkdir -p /etc/postgresql-common/createcluster.d
    echo 'create_main_cluster = false' \
      >/etc/postgresql-common/createcluster.d/no-main-cluster.conf
    if [[ -f /etc/postgresql-common/createcluster.conf ]]; then
      sed -i 's/^#\?create_main_cluster *=.*/create_main_cluster = false/' \
        /etc/postgresql-common/createcluster.conf
    fi
  fi
  "${apt[@]}" install --no-install-recommends "$@"
}

# --- ending things ----------------------------------------------------------

work=
nginx_pid=
app_pid=
pg_pid=
declare -a clients=()

end_pid() { # pid [signal]: end a process of ours and wait for it
  [[ -n $1 ]] || return 0
  kill "-${2:-TERM}" "$1" 2>/dev/null || true
  wait "$1" 2>/dev/null || true
}

cleanup() {
  local p
  if [[ -n $made_policy ]]; then rm -f "$policy"; fi
  for p in "${clients[@]}"; do end_pid "$p"; done
  end_pid "$nginx_pid"
  end_pid "$app_pid"
  end_pid "$pg_pid" INT
  if [[ -n $work ]]; then rm -rf "$work"; fi
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

wait_clients() {
  local p
  for p in "${clients[@]}"; do wait "$p" || true; done
  clients=()
}

free_ports() { # n: print n ports that are free on 127.0.0.1
  "$python" - "$1" <<'PY'
import socket, sys
socks = [socket.socket() for _ in range(int(sys.argv[1]))]
for s in socks:
    s.bind(("127.0.0.1", 0))
print(*[s.getsockname()[1] for s in socks])
PY
}

# --- nginx ------------------------------------------------------------------

write_app() { # the application behind nginx
  cat >"$work/web/app.py" <<'PY'
"""A small shop API: items, orders, search, reports. Kept in memory."""
import json, random, socketserver, sys, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

rng = random.Random(int(sys.argv[2]))
items = {i: {"id": i, "name": f"item {i}", "stock": i % 7} for i in range(1, 301)}
carts, lock = {}, threading.Lock()


class Handler(BaseHTTPRequestHandler):
    server_version = "shop/1.4"

    def reply(self, status, body=None, **headers):
        data = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        for k, v in headers.items():
            self.send_header(k.replace("_", "-"), v)
        if status != 204:
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def handle_any(self):
        n = int(self.headers.get("Content-Length") or 0)
        raw = self.rfile.read(n) if n else b""
        url = urlsplit(self.path)
        query = parse_qs(url.query)
        parts = [p for p in url.path.split("/") if p][2:]  # after api/v1
        time.sleep(rng.expovariate(1 / 0.004))
        try:
            self.route(parts, query, raw)
        except (KeyError, IndexError) as e:
            self.reply(404, {"error": "not found", "what": str(e)})
        except ValueError as e:
            self.reply(400, {"error": "bad request", "what": str(e)})
        except ZeroDivisionError as e:
            self.reply(500, {"error": "internal error", "what": str(e)})

    def route(self, parts, query, raw):
        m = self.command
        if parts[0] == "items" and len(parts) == 1:
            if m not in ("GET", "HEAD"):
                return self.reply(405, {"error": m}, Allow="GET, HEAD")
            page, per = int(query.get("page", ["1"])[0]), int(query.get("per", ["20"])[0])
            pages = 300 // per  # per=0 is a bug, left as it is
            ids = list(items)[(page - 1) * per: page * per]
            return self.reply(200, {"pages": pages, "items": [items[i] for i in ids]})
        if parts[0] == "items":
            item = items[int(parts[1])]
            if len(parts) == 3 and parts[2] == "price":  # 500 when out of stock
                return self.reply(200, {"unit": 100 / item["stock"]})
            return self.reply(200, item)
        if parts[0] == "cart":
            with lock:
                cart = carts.setdefault(parts[1], {})
                if m == "PUT":
                    cart[int(parts[2])] = json.loads(raw)["n"]
                    return self.reply(204)
                if m == "DELETE":
                    if int(parts[2]) in cart:
                        del cart[int(parts[2])]
                        return self.reply(204)
                    return self.reply(404, {"error": "not in the cart"})
            return self.reply(200, cart)
        if parts[0] == "orders" and m == "POST":
            order = json.loads(raw)
            item = items[int(order["item"])]
            if item["stock"] == 0:
                return self.reply(409, {"error": "out of stock"})
            return self.reply(201, {"order": rng.randrange(10 ** 6)},
                              Location="/api/v1/orders/1")
        if parts[0] == "orders":
            if "Authorization" not in self.headers:
                return self.reply(401, {"error": "who are you?"})
            return self.reply(200, {"order": int(parts[1]), "state": "paid"})
        if parts[0] == "search":
            q = query["q"][0].lower()
            return self.reply(200, [i for i in items.values() if q in i["name"]][:10])
        if parts[0] == "session":
            return self.reply(302, Location="/", Set_Cookie="s=1")
        if parts[0] == "reports":
            time.sleep(rng.choice((0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 1.6)))
            return self.reply(200, {"rows": [rng.random() for _ in range(50)]})
        if parts[0] == "export":
            if rng.random() < 0.5:  # gives up: closes without an answer
                self.close_connection = True
                return None
            return self.reply(503, {"error": "busy"}, Retry_After="30")
        raise KeyError(parts[0])

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = handle_any
    do_OPTIONS = do_PATCH = handle_any


class Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True

    def server_bind(self):
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]


Server(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
PY
}

write_site() {
  local i root=$work/web/site
  mkdir -p "$root"/{css,js,img,docs,products,downloads,assets,internal}
  printf 'User-agent: *\nDisallow: /admin/\n' >"$root/robots.txt"
  for i in index about contact faq terms privacy; do
    seq 1 $((${#i} * 90)) >"$root/$i.html"
  done
  for i in index install configure upgrade troubleshooting; do
    seq 1 $((${#i} * 200)) >"$root/docs/$i.html"
  done
  for i in $(seq 1 60); do seq 1 $((300 + i * 7)) >"$root/products/$i.html"; done
  for i in $(seq 1 30); do head -c $((4000 + i * 531)) /dev/urandom >"$root/img/p$i.jpg"; done
  seq 1 900 >"$root/css/site.css"
  seq 1 4000 >"$root/js/app.js"
  seq 1 7000 >"$root/js/vendor.js"
  head -c 400000 /dev/urandom >"$root/downloads/catalogue.pdf"
  echo secret >"$root/internal/notes.txt"
  echo draft >"$root/docs/draft.html"
  chmod 000 "$root/docs/draft.html" # a deployment mistake: unreadable
  find "$root" -type f -exec touch -d '2026-11-02 08:15:00' {} +
}

write_nginx_conf() {
  # shellcheck disable=SC2016  # the dollar signs are nginx variables
  sed -e "s|@W@|$work/web|g" -e "s|@PORT@|$web_port|g" -e "s|@APP@|$app_port|g" \
    >"$work/web/nginx.conf" <<'CONF'
daemon off;
worker_processes 2;
pid @W@/nginx.pid;
error_log @W@/error.log info;
events { worker_connections 256; }
http {
    include /etc/nginx/mime.types;
    access_log @W@/access.log combined;
    client_body_temp_path @W@/tmp/body;
    proxy_temp_path @W@/tmp/proxy;
    fastcgi_temp_path @W@/tmp/fastcgi;
    uwsgi_temp_path @W@/tmp/uwsgi;
    scgi_temp_path @W@/tmp/scgi;
    server_tokens off;
    sendfile on;
    if_modified_since before;
    keepalive_timeout 20s;
    client_header_timeout 3s;
    client_body_timeout 2s;
    client_max_body_size 32k;
    limit_req_zone $binary_remote_addr zone=search:1m rate=25r/s;
    limit_req_zone $binary_remote_addr zone=login:1m rate=3r/s;
    limit_conn_zone $binary_remote_addr zone=downloads:1m;
    limit_req_status 429;

    server {
        listen 127.0.0.1:@PORT@;
        server_name shop.example;
        root @W@/site;
        index index.html;

        location = /healthz { return 204; }
        location = /nginx_status { stub_status; }
        location = /home { return 301 /; }
        location /old/ { rewrite ^/old/(.*)$ /products/$1 permanent; }
        location /internal/ { deny all; }
        location ~ /\.(?!well-known) { deny all; }
        location /admin/ {
            auth_basic "back office";
            auth_basic_user_file @W@/htpasswd;
            limit_req zone=login burst=4 nodelay;
            alias @W@/site/docs/;
        }
        location /downloads/ {
            limit_conn downloads 2;
            limit_rate 300k;
        }
        # A mistake as it is often made: the fallback does not exist.
        location /account/ { try_files $uri /account/index.html; }

        location /api/ {
            proxy_pass http://127.0.0.1:@APP@;
            proxy_set_header Host $host;
            proxy_connect_timeout 1s;
            proxy_read_timeout 1s;
        }
        location /api/v1/search {
            limit_req zone=search burst=20 nodelay;
            proxy_pass http://127.0.0.1:@APP@;
            proxy_read_timeout 1s;
        }
        location /legacy/ { proxy_pass http://unix:@W@/legacy.sock:/; }
    }
}
CONF
}

write_plan() { # curl configuration files, one per client process
  "$python" - "$work/web/plan" "$web_port" <<'PY'
import os, random, sys
out, port = sys.argv[1], sys.argv[2]
os.makedirs(out, exist_ok=True)
BROWSERS = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:132.0) Gecko/20100101 Firefox/132.0",
    "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.6 Safari/605.1.15",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_6 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148",
    "Lynx/2.9.0dev.12 libwww-FM/2.14",
]
TOOLS = [None, None, "python-requests/2.32.3", "Go-http-client/1.1", "okhttp/4.12.0", "kube-probe/1.31"]
BOTS = ["Mozilla/5.0 (compatible; ExampleBot/2.1; +http://bot.example/about)", "", 'weird "quoted" agent\\1.0']
SITE = "https://shop.example"
SEEN = ["https://search.example/?q=blue+lamp", "https://forum.example/t/4711?page=2", SITE + "/"]
PROBES = ["/wp-login.php", "/.env", "/.git/config", "/xmlrpc.php", "/phpmyadmin/index.php", "/cgi-bin/luci",
          "/vendor/phpunit/phpunit/src/Util/PHP/eval-stdin.php", "/favicon.ico", "/apple-touch-icon.png",
          "/wp-content/plugins/", "/actuator/health", "/server-status", "/index.php?s=/../../etc/passwd",
          "/backup.zip", "/config.json", "/admin/config.php", "/%2e%2e/%2e%2e/etc/passwd", "/internal/notes.txt"]
WORDS = ["lamp", "item 1", "item 22", "chair", "na\u00efve", "caf\u00e9", "\u65e5\u672c", "100% wool", "a&b", "tea+pot"]
PLACES = ["/products/caf%C3%A9-%C3%A0-la-carte.html", "/products/%E6%97%A5%E6%9C%AC%E8%AA%9E.html", "/products/caf\u00e9.html",
          "/suche/gr%C3%B6%C3%9Fe?farbe=wei%C3%9F", "/products/%D0%BB%D0%B0%D0%BC%D0%BF%D0%B0", "/img/%F0%9F%98%80.png"]


def esc(s):
    return s.replace("\\", "\\\\").replace('"', '\\"')


class Client:
    def __init__(self, seed, n):
        self.r, self.n, self.reqs = random.Random(seed), n, []

    def add(self, path, method="GET", data=None, ip=None, ua=None, ref=None, hdr=(), opts=()):
        L = ['url = "http://127.0.0.1:%s%s"' % (port, esc(path)), 'output = "/dev/null"',
             'interface = "%s"' % (ip or self.ip), 'noproxy = "*"', "globoff", "path-as-is"]
        if method == "HEAD":
            L.append("head")
        elif method != "GET":
            L.append('request = "%s"' % method)
        if data is not None:
            L.append('data = "%s"' % esc(data))
            if data.startswith("{"):
                L.append('header = "Content-Type: application/json"')
        ua = self.ua if ua is None else ua
        if ua == "":
            L.append('header = "User-Agent:"')
        elif ua:
            L.append('user-agent = "%s"' % esc(ua))
        if ref:
            L.append('referer = "%s"' % esc(ref))
        L += ['header = "%s"' % esc(h) for h in hdr]
        L += list(opts)
        self.reqs.append("\n".join(L))

    def pick(self, *pairs):
        return self.r.choices([p[0] for p in pairs], [p[1] for p in pairs])[0]()

    def visit(self):
        """Somebody looks at the shop with a browser."""
        r = self.r
        self.ua, ref, first = r.choice(BROWSERS), r.choice(SEEN + [None] * 3), r.random() < 0.55
        for _ in range(r.randint(1, 6)):
            page = r.choice(["/", "/", "/about.html", "/faq.html", "/docs/", "/docs/install.html", "/contact.html"]
                            + ["/products/%d.html" % r.randint(1, 64) for _ in range(7)])
            if r.random() < 0.10:
                page = r.choice(["/docs", "/home", "/old/%d.html" % r.randint(1, 60), "/products", "/img"])
            if r.random() < 0.3 and "?" not in page:
                page += r.choice(["?utm_source=mail&utm_campaign=nov", "?ref=%d" % r.randint(1, 999), "?lang=de"])
            self.add(page, ref=ref)
            ref = SITE + page.split("?")[0]
            since = ["If-Modified-Since: Mon, 23 Nov 2026 00:00:00 GMT"]
            for a in r.sample(["/css/site.css", "/js/app.js", "/js/vendor.js"] +
                              ["/img/p%d.jpg" % r.randint(1, 31) for _ in range(4)], r.randint(0, 3)):
                self.add(a, ref=ref, hdr=() if first else since)
            first = first and r.random() < 0.4
            if r.random() < 0.4:
                self.shop(ref)
            if r.random() < 0.010:
                self.add(r.choice(["/account/", "/account/orders?year=2026"]), ref=ref)

    def shop(self, ref):
        r, me = self.r, "u%d" % self.r.randint(1, 80)
        item = r.randint(1, 306)
        self.pick(
            (lambda: self.add("/api/v1/items?page=%d&per=%d" % (r.randint(1, 15), r.choice([10, 20, 20, 50] * 8 + [0])), ref=ref), 5),
            (lambda: self.add("/api/v1/items/%d" % item, ref=ref), 5),
            (lambda: self.add("/api/v1/items/%d/price?cur=EUR" % item, ref=ref), 0.8),
            (lambda: self.add("/api/v1/cart/%s" % me, ref=ref), 2),
            (lambda: self.add("/api/v1/cart/%s/%d" % (me, item % 20), "PUT", '{"n": %d}' % r.randint(1, 4), ref=ref), 3),
            (lambda: self.add("/api/v1/cart/%s/%d" % (me, item % 20), "DELETE", ref=ref), 1.2),
            (lambda: self.add("/api/v1/orders", "POST", '{"item": %d, "n": 1}' % item, ref=ref), 2.4),
            (lambda: self.add("/api/v1/session", "POST", "user=%s&password=x" % me, ref=ref), 1),
            (lambda: self.search(ref), 2),
            (lambda: self.add("/downloads/catalogue.pdf", ref=ref, hdr=["Range: bytes=%d-%d" % (item * 100, item * 100 + 9999)]), 0.5))

    def search(self, ref=None):
        from urllib.parse import quote, quote_plus
        q = self.r.choice([quote, quote_plus])(self.r.choice(WORDS))
        self.add("/api/v1/search?q=%s&limit=10" % q, ref=ref)

    def program(self):
        """A program uses the API."""
        r = self.r
        self.ua = r.choice(TOOLS)
        auth = ["Authorization: Bearer t%d" % r.randint(1, 9)]
        for _ in range(r.randint(2, 12)):
            n = r.randint(1, 300)
            self.pick(
                (lambda: self.add("/api/v1/items/%d" % n), 6),
                (lambda: self.add("/api/v1/items/%d" % n, "HEAD"), 2),
                (lambda: self.add("/api/v1/orders/%d" % (n * 37), hdr=auth), 4),
                (lambda: self.add("/api/v1/orders/%d" % (n * 37)), 0.5),
                (lambda: self.add("/api/v1/orders", "POST", r.choice(['{"item": %d}' % n, '{"item": %d}' % n, "{oops"]), hdr=auth), 1.2),
                (lambda: self.add("/api/v1/items/%s" % r.choice(["abc", "1e3", "None"])), 0.4),
                (lambda: self.add("/api/v1/items", r.choice(["POST", "PATCH", "DELETE"]), '{"name": "x"}'), 0.25),
                (lambda: self.add("/api/v1/reports/daily?day=2026-11-%02d" % r.randint(1, 23), hdr=auth), 0.9),
                (lambda: self.add("/api/v1/reports/monthly?m=%d" % r.randint(1, 12), hdr=auth, opts=["max-time = 0.15"]), 0.40),
                (lambda: self.add("/api/v1/export?format=csv", hdr=auth), 0.20),
                (lambda: self.add("/api/v2/items/%d" % n), 0.15),
                (lambda: self.add("/legacy/soap", "POST", "<x/>"), 0.04),
                (lambda: self.search(), 1))

    def probe(self):
        """A monitor looks whether the shop is up."""
        self.ua = self.r.choice(["kube-probe/1.31", None])
        for _ in range(self.r.randint(2, 8)):
            self.add("/healthz" if self.r.random() < 0.8 else "/nginx_status")

    def scan(self):
        """Somebody looks for holes."""
        r = self.r
        self.ua = r.choice(BOTS + TOOLS[2:4])
        for _ in range(r.randint(1, 6)):
            self.pick(
                (lambda: self.add(r.choice(PROBES), r.choice(["GET", "GET", "GET", "HEAD"])), 8),
                (lambda: self.add(r.choice(PLACES)), 2),
                (lambda: self.add("/", r.choice(["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PROPFIND"]), "a=1"), 1),
                (lambda: self.add("/products/", ref="javascript:alert(1)"), 0.5),
                (lambda: self.add("/docs/draft.html"), 0.4),
                (lambda: self.add("/search?q=" + "A" * r.choice([300, 900, 1800])), 0.15),
                (lambda: self.add("/api/v1/orders", "POST", "x" * 40000), 0.25),
                (lambda: self.add("/", hdr=["Host: %s" % r.choice(["", "a b", "evil.example/x"])]), 0.3))

    def login(self):
        """Somebody guesses passwords."""
        r = self.r
        self.ua = r.choice(["", "python-requests/2.32.3"])
        for i in range(r.randint(3, 14)):
            self.add("/admin/", opts=['user = "admin:%d"' % r.randint(0, 99)])
        if r.random() < 0.3:
            self.add("/admin/configure.html", opts=['user = "admin:letmein"'])

    def run(self, name, rate):
        r = self.r
        while len(self.reqs) < self.n:
            self.ip = "127.0.0.%d" % min(20, 1 + int(r.expovariate(1 / 5)))
            self.pick((self.visit, 60), (self.program, 22), (self.probe, 9), (self.scan, 7), (self.login, 1.6))
        with open(os.path.join(out, name), "w", encoding="utf-8") as f:
            f.write("silent\nrate = %d/s\n" % rate)
            f.write("\nnext\n".join(self.reqs[:self.n]) + "\n")


for i, (n, rate) in enumerate([(2400, 34), (2400, 32), (2200, 30), (2200, 29), (2000, 27), (1900, 26), (1600, 22), (900, 13)]):
    Client(4700 + i, n).run("client%d" % i, rate)
PY
}

raw() { # text for printf, [seconds]: send bytes that are not quite HTTP
  local fd
  exec {fd}<>"/dev/tcp/127.0.0.1/$web_port" || return 0
  # shellcheck disable=SC2059  # the text is a format on purpose
  printf "$1" >&"$fd" || true
  timeout "${2:-0.3}" cat <&"$fd" >/dev/null || true
  exec {fd}>&-
}

odd_clients() {
  local i long
  long=$(head -c 9000 /dev/zero | tr '\0' a)
  for i in 1 2 3 4 5 6; do
    # TLS spoken to the plain port
    curl -q -s -k -m 2 --interface "127.0.0.$((i * 3))" "https://127.0.0.1:$web_port/" || true
    # HTTP/2 without asking
    curl -q -s -m 2 --http2-prior-knowledge -o /dev/null "http://127.0.0.1:$web_port/" || true
    raw 'SSH-2.0-libssh2_1.10.0\r\n'
    raw '\x03\x00\x00\x13\x0e\xe0\x00\x00\x00\x00\x00\x01\x00\x08\x00\x03\x00\x00\x00'
    raw '\n\n\n\n'
    raw 'GET /about.html HTTP/1.1\r\n\r\n'
    raw 'GET /faq.html\r\n'
    raw 'GET /caf\xe9\xff.html HTTP/1.0\r\n\r\n'
    raw '*1\r\n\x244\r\nPING\r\n'
    raw 'get / HTTP/1.1\r\nHost: a\r\n\r\n'
    raw 'GET / HTTP/9.9\r\nHost: a\r\n\r\n'
    raw 'GET /\x01\x02tab\\there HTTP/1.0\r\n\r\n'
    raw 'CONNECT mail.example:25 HTTP/1.1\r\nHost: mail.example\r\n\r\n'
    raw 'POST /api/v1/orders HTTP/1.1\r\nHost: a\r\nContent-Length: 500\r\n\r\n{"item' 3
    raw 'GET /slow HTTP/1.1\r\nHost: a\r\n' 4
    if ((i % 2)); then
      curl -q -s -o /dev/null "http://127.0.0.1:$web_port/products/$long" || true
      curl -q -s -o /dev/null -H "Cookie: $long" "http://127.0.0.1:$web_port/" || true
    fi
    sleep 2
  done
}

downloads() { # more at a time from one address than limit_conn permits
  local i j
  for i in 1 2 3; do
    local -a args=()
    for j in 1 2 3 4 5 6 7 8; do
      args+=(-o /dev/null "http://127.0.0.1:$web_port/downloads/catalogue.pdf?part=$j")
    done
    curl -q -s -Z --interface "127.0.0.$((10 + i))" "${args[@]}" || true
    # and clients that go away in the middle
    curl -q -s -m 0.4 -o /dev/null --interface "127.0.0.$((i + 3))" \
      "http://127.0.0.1:$web_port/downloads/catalogue.pdf" || true
    sleep 8
  done
}

start_app() {
  "${as_web[@]}" "$python" "$work/web/app.py" "$app_port" "$1" >>"$work/web/app.out" 2>&1 &
  app_pid=$!
}

capture_nginx() {
  local i plan
  local -a kids=()
  read -r web_port app_port < <(free_ports 2)
  mkdir -p "$work/web/tmp"
  printf 'admin:{PLAIN}letmein\n' >"$work/web/htpasswd"
  write_app
  write_site
  write_nginx_conf
  write_plan
  if ((EUID == 0)); then chown -R www-data: "$work/web"; fi

  say "nginx on port $web_port, application on port $app_port"
  start_app 1
  "${as_web[@]}" nginx -e "$work/web/error.log" -c "$work/web/nginx.conf" &
  nginx_pid=$!
  for ((i = 0; i < 100; i++)); do
    if (exec 3<>"/dev/tcp/127.0.0.1/$web_port") 2>/dev/null; then break; fi
    sleep 0.1
  done
  kill -0 "$nginx_pid" || die "nginx did not start"

  for plan in "$work"/web/plan/*; do
    curl -q -K "$plan" >/dev/null 2>&1 &
    clients+=($!)
  done
  odd_clients >/dev/null 2>&1 &
  clients+=($!)
  downloads >/dev/null 2>&1 &
  clients+=($!)

  sleep 12
  say "bursts"
  ab -q -B 127.0.0.17 -n 260 -c 4 "http://127.0.0.1:$web_port/api/v1/search?q=item" >/dev/null 2>&1 || true
  sleep 8
  ab -q -k -n 500 -c 4 "http://127.0.0.1:$web_port/docs/configure.html" >/dev/null 2>&1 || true
  say "reload, and a reload with a broken configuration"
  kill -HUP "$nginx_pid"
  sleep 3
  cp -p "$work/web/nginx.conf" "$work/web/nginx.conf.good"
  echo 'proxy_reed_timeout 5s;' >>"$work/web/nginx.conf"
  kill -HUP "$nginx_pid"
  sleep 1
  cp -p "$work/web/nginx.conf.good" "$work/web/nginx.conf"
  sleep 5
  say "the application is down for a while"
  end_pid "$app_pid"
  sleep 3
  start_app 2
  sleep 8
  ab -q -B 127.0.0.19 -n 150 -c 3 -p "$work/web/htpasswd" -T text/plain \
    "http://127.0.0.1:$web_port/api/v1/search?q=lamp&sort=price" >/dev/null 2>&1 || true
  say "a worker process dies"
  # (that file has no newline at its end, so read fails although it reads)
  read -r -a kids <"/proc/$nginx_pid/task/$nginx_pid/children" || true
  if ((${#kids[@]})); then kill -KILL "${kids[0]}" 2>/dev/null || true; fi
  sleep 5
  kill -USR1 "$nginx_pid" # reopen the log files
  say "waiting for the clients"
  wait_clients
  end_pid "$nginx_pid" QUIT
  nginx_pid=
  end_pid "$app_pid"
  app_pid=
}

# --- PostgreSQL -------------------------------------------------------------

pg_start() {
  local i
  "${as_pg[@]}" "$pg_bin/postgres" -D "$work/pg/data" 2>>"$work/pg/postgresql.log" >&2 &
  pg_pid=$!
  for ((i = 0; i < 300; i++)); do
    if "$pg_bin/pg_isready" -q -h 127.0.0.1 -p "$pg_port" -U postgres -d postgres; then return; fi
    kill -0 "$pg_pid" 2>/dev/null || die "PostgreSQL did not start: $(tail -n 5 "$work/pg/postgresql.log")"
    sleep 0.2
  done
  die "PostgreSQL does not answer"
}

sql() { # user database [psql arguments]; never fails
  local u=$1 d=$2
  shift 2
  "$pg_bin/psql" -X -q -A -t -h 127.0.0.1 -p "$pg_port" -U "$u" -d "$d" "$@" 2>>"$work/pg/clients.err" || true
}

bench() { # pgbench arguments; never fails
  "$pg_bin/pgbench" -h 127.0.0.1 -p "$pg_port" -U bench "$@" shop >>"$work/pg/pgbench.out" 2>&1 || true
}

write_statements() { # files of statements for psql, some of them wrong
  "$python" - "$work/pg/sql" <<'PY'
import os, random, sys
os.makedirs(sys.argv[1], exist_ok=True)
NAMES = ["Ada Byron", "Zo\u00eb Kr\u00e4mer", "O''Neill", "\u6797\u3055\u304f\u3089", "Jos\u00e9 Pi\u00f1era", "Tom"]
for k in range(8):
    r = random.Random(900 + k)
    L = ["SET application_name = 'shop-worker-%d';" % k, "SET statement_timeout = '400ms';"]
    good = [
        lambda: "SELECT count(*) FROM orders WHERE status = '%s';" % r.choice(["new", "paid", "sent"]),
        lambda: "SELECT id, email FROM customers WHERE id = %d;" % r.randint(1, 900),
        lambda: "INSERT INTO orders (customer_id, amount, status) VALUES (%d, %d.%02d, 'new');" % (r.randint(1, 400), r.randint(1, 900), r.randint(0, 99)),
        lambda: "UPDATE orders SET status = 'paid' WHERE id = %d;" % r.randint(1, 900),
        lambda: "SELECT c.name, sum(o.amount)\n  FROM customers c\n  JOIN orders o ON o.customer_id = c.id\n GROUP BY c.name\n ORDER BY 2 DESC\n LIMIT %d;" % r.randint(3, 20),
        lambda: "SELECT md5(g::text), repeat('x', 40) FROM generate_series(1, %d) g ORDER BY 1 OFFSET 9000;" % r.randint(4000, 9000),
    ]
    bad = [
        (14, lambda: "INSERT INTO customers (email, name) VALUES ('user%d@shop.example', '%s');" % (r.randint(1, 500), r.choice(NAMES))),
        (6, lambda: "INSERT INTO orders (customer_id, amount, status) VALUES (%d, 10, 'new');" % r.randint(5000, 9000)),
        (5, lambda: "INSERT INTO orders (customer_id, amount, status) VALUES (%d, -%d, 'new');" % (r.randint(1, 400), r.randint(1, 90))),
        (3, lambda: "INSERT INTO customers (email, name) VALUES ('new%d@shop.example', NULL);" % r.randint(1, 10**6)),
        (5, lambda: r.choice(["SELEC * FROM orders;", "SELECT id FROM orders WHERE;", "UPDATE orders SET status == 'x';", "INSERT INTO orders (amount VALUES (1);"])),
        (5, lambda: "SELECT * FROM %s LIMIT 5;" % r.choice(["order_items", "Customers_old", "public.invoices", "stats.daily"])),
        (4, lambda: "SELECT id, %s FROM customers;" % r.choice(["emial", "phone", "c.name"])),
        (6, lambda: "SELECT amount / (id - %d) FROM orders WHERE id = %d;" % ((r.randint(1, 200),) * 2)),
        (4, lambda: "SELECT '%s'::integer;" % r.choice(["12a", "", "na\u00efve", "9999999999"])),
        (2, lambda: "SELECT '2026-%d-31'::date;" % r.choice([2, 4, 13])),
        (2, lambda: "SELECT pg_sleep(%d);" % r.randint(1, 3)),
        (2, lambda: "SELECT place_order(%d, %d);" % (r.randint(1, 400), r.choice([0, 5, 2000]))),
        (2, lambda: "SELECT to_nmber('%d');" % r.randint(1, 9)),
        (2, lambda: r.choice(["DROP TABLE orders;", "TRUNCATE customers;", "SELECT * FROM salaries;", "ALTER SYSTEM SET work_mem = '1GB';"])),
        (2, lambda: r.choice(["COMMIT;", "ROLLBACK;", "BEGIN; BEGIN; COMMIT;"])),
        (1, lambda: "BEGIN;\nSELECT 1/0;\nSELECT count(*)\n  FROM orders;\nROLLBACK;"),
        (1, lambda: "SELECT E'caf\\xe9';"),
        (1, lambda: "SELECT '{\"a\": %d,}'::jsonb;" % r.randint(1, 9)),
        (1, lambda: "COPY orders FROM '/nowhere/orders.csv';"),
    ]
    for _ in range(230):
        if r.random() < 0.45:
            L.append(r.choices([b[1] for b in bad], [b[0] for b in bad])[0]())
        else:
            L.append(r.choice(good)())
        if r.random() < 0.3:
            L.append("\\! sleep 0.%02d" % r.randint(5, 30))
    with open(os.path.join(sys.argv[1], "worker%d.sql" % k), "w", encoding="utf-8") as f:
        f.write("\n".join(L) + "\n")
PY
}

pg_setup() {
  export PGPASSFILE=$work/pg/pgpass PGOPTIONS='-c log_statement_sample_rate=0'
  sql postgres postgres -v ON_ERROR_STOP=1 -v "pw=$1" <<'SQL'
CREATE ROLE bench LOGIN PASSWORD :'pw';
CREATE ROLE shop LOGIN PASSWORD :'pw';
CREATE ROLE report LOGIN PASSWORD :'pw';
CREATE ROLE nologin_role NOLOGIN;
ALTER ROLE report SET log_min_messages = notice;
ALTER ROLE shop CONNECTION LIMIT 12;
CREATE DATABASE shop OWNER bench;
SQL
  sql postgres shop -v ON_ERROR_STOP=1 <<'SQL'
CREATE TABLE customers (id serial PRIMARY KEY, email text NOT NULL UNIQUE, name text NOT NULL);
CREATE TABLE orders (id serial PRIMARY KEY, customer_id int NOT NULL REFERENCES customers,
  amount numeric(10,2) NOT NULL CHECK (amount > 0), status text NOT NULL);
CREATE TABLE salaries (id int, amount numeric);
CREATE TABLE counters (id int PRIMARY KEY, n bigint NOT NULL DEFAULT 0);
INSERT INTO counters SELECT g FROM generate_series(1, 4) g;
INSERT INTO customers (email, name) SELECT 'user' || g || '@shop.example', 'User ' || g FROM generate_series(1, 400) g;
INSERT INTO orders (customer_id, amount, status) SELECT 1 + g % 400, 1 + g % 90, 'new' FROM generate_series(1, 900) g;
CREATE FUNCTION place_order(who int, cents int) RETURNS int LANGUAGE plpgsql AS $$
BEGIN
  IF cents > 1000 THEN
    RAISE WARNING 'large order for customer %', who USING HINT = 'Ask somebody to look at it.';
  END IF;
  INSERT INTO orders (customer_id, amount, status) VALUES (who, cents, 'new');
  RETURN cents;
END $$;
GRANT SELECT, INSERT, UPDATE ON customers, orders, counters TO shop, report, bench;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO shop, report, bench;
GRANT CREATE ON SCHEMA public TO bench, report;
SQL
  unset PGOPTIONS
}

deadlocks() { # pairs of sessions that lock two rows in opposite order
  local i a b
  for i in 1 2 3 4 5; do
    a=$((1 + i % 4)) b=$((1 + (i + 1) % 4))
    sql shop shop -c "BEGIN; UPDATE counters SET n = n + 1 WHERE id = $a; SELECT pg_sleep(0.4); UPDATE counters SET n = n + 1 WHERE id = $b; COMMIT;" &
    sql shop shop -c "BEGIN; UPDATE counters SET n = n + 1 WHERE id = $b; SELECT pg_sleep(0.4); UPDATE counters SET n = n + 1 WHERE id = $a; COMMIT;" &
    wait
    sleep 1
  done
}

strangers() { # connections that must fail
  local i
  for i in 1 2 3 4 5 6 7 8; do
    PGPASSWORD=wrong$i sql shop shop -c 'SELECT 1'
    sql shop "shop_$i" -c 'SELECT 1'
    PGPASSWORD=x sql "admin$i" shop -c 'SELECT 1'
    PGPASSWORD=x sql nologin_role shop -c 'SELECT 1'
    sql intruder shop -c 'SELECT 1'
    if (exec 3<>"/dev/tcp/127.0.0.1/$pg_port" && printf 'GET / HTTP/1.0\r\n\r\n' >&3 && sleep 0.1) 2>/dev/null; then :; fi
    sleep 1.5
  done
}

lock_timeouts() {
  sql bench shop -c "BEGIN; LOCK TABLE counters IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(1.5); COMMIT;" &
  sleep 0.3
  PGOPTIONS='-c lock_timeout=500ms' sql shop shop -c 'UPDATE counters SET n = 0 WHERE id = 1' &
  sql report shop -c 'SELECT * FROM counters' >/dev/null &
  wait
  # a client that leaves its transaction open
  sql shop shop -c "SET idle_in_transaction_session_timeout = '300ms'" -c BEGIN -c '\! sleep 0.6' -c 'SELECT 1' -c COMMIT
}

reports() { # a role that logs notices, too; temporary files; VACUUM
  local i
  for i in 1 2 3 4 5 6; do
    sql report shop <<'SQL' >/dev/null
DROP TABLE IF EXISTS report_tmp;
CREATE TABLE IF NOT EXISTS report_tmp AS
  SELECT o.*, c.email FROM orders o JOIN customers c ON c.id = o.customer_id;
CREATE TABLE IF NOT EXISTS report_tmp (x int);
DO $$ BEGIN RAISE NOTICE 'report ready: % rows', (SELECT count(*) FROM report_tmp); END $$;
SELECT email, row_number() OVER (PARTITION BY status ORDER BY amount, md5(email)) FROM report_tmp;
DELETE FROM report_tmp WHERE id % 3 = 0;
TRUNCATE report_tmp;
SQL
    sleep 3
  done
  sql postgres shop -c "SET log_min_messages = info" -c 'VACUUM (VERBOSE) customers' -c CHECKPOINT
}

session_pid() { # application_name: the server process of that session
  local p='' i
  for ((i = 0; i < 20; i++)); do
    p=$(sql postgres postgres -c "SELECT pid FROM pg_stat_activity WHERE application_name = '$1' LIMIT 1")
    if [[ -n $p ]]; then break; fi
    sleep 0.2
  done
  printf '%s\n' "$p"
}

capture_postgresql() {
  local f p pw dir=$work/pg
  local -a kids=()
  read -r pg_port < <(free_ports 1)
  mkdir -p "$dir"
  pw=$(od -An -N12 -tx1 /dev/urandom | tr -d ' \n')
  (umask 077 && printf '127.0.0.1:*:*:*:%s\n' "$pw" >"$dir/pgpass" && printf '%s\n' "$pw" >"$dir/pw")
  write_statements
  cat >"$dir/race.sql" <<'SQL'
\set id random(1, 4)
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT sum(n) FROM counters;
UPDATE counters SET n = n + 1 WHERE id = :id;
COMMIT;
SQL
  if ((EUID == 0)); then
    chown postgres: "$dir" "$dir/pw"
  fi
  "${as_pg[@]}" "$pg_bin/initdb" -D "$dir/data" -U postgres -E UTF8 --locale=C \
    --auth=scram-sha-256 --pwfile="$dir/pw" --no-sync >/dev/null
  cat >>"$dir/data/postgresql.conf" <<CONF
listen_addresses = '127.0.0.1'
port = $pg_port
unix_socket_directories = ''
max_connections = 24
shared_buffers = 16MB
work_mem = 64kB
fsync = off
min_wal_size = 32MB
max_wal_size = 32MB
checkpoint_timeout = 30s
autovacuum_naptime = 5s
deadlock_timeout = 100ms
timezone = 'UTC'
log_timezone = 'UTC'
lc_messages = 'C'
log_line_prefix = '%m [%p] %q%u@%d '
log_connections = on
log_disconnections = on
log_checkpoints = on
log_lock_waits = on
log_temp_files = 0
log_autovacuum_min_duration = 0
log_min_duration_statement = 300ms
log_min_duration_sample = 0
log_statement_sample_rate = 0.05
CONF
  sed -i '1i host all intruder 127.0.0.1/32 reject' "$dir/data/pg_hba.conf"

  say "PostgreSQL on port $pg_port"
  pg_start
  pg_setup "$pw"
  bench -i -q -s 3

  say "load: simple, prepared and racing transactions, statements with mistakes"
  bench -c 4 -j 1 -T 30 -R 110 &
  clients+=($!)
  bench -n -c 3 -j 1 -T 30 -R 50 -M prepared &
  clients+=($!)
  for f in "$dir"/sql/worker[0-3].sql; do
    sql shop shop -f "$f" >/dev/null &
    clients+=($!)
  done
  (strangers) >/dev/null 2>&1 &
  clients+=($!)
  (reports) &
  clients+=($!)
  (deadlocks) >/dev/null 2>&1 &
  clients+=($!)
  wait_clients

  say "load: short connections, lock timeouts, races"
  bench -n -c 3 -t 60 -S -C &
  clients+=($!)
  for f in "$dir"/sql/worker[4-7].sql; do
    sql shop shop -f "$f" >/dev/null &
    clients+=($!)
  done
  bench -n -c 4 -T 6 -R 60 --max-tries=4 -f "$dir/race.sql" &
  clients+=($!)
  (lock_timeouts) >/dev/null &
  clients+=($!)
  wait_clients
  say "more clients than connections"
  bench -n -c 30 -j 1 -t 5 -S
  for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14; do
    sql shop shop -c 'SELECT pg_sleep(0.8)' >/dev/null &
    clients+=($!)
  done
  wait_clients

  say "sessions cancelled, terminated and killed; a reload"
  PGAPPNAME=nightly sql shop shop -c 'SELECT pg_sleep(20)' &
  clients+=($!)
  p=$(session_pid nightly)
  if [[ -n $p ]]; then sql postgres postgres -c "SELECT pg_cancel_backend($p)" >/dev/null; fi
  PGAPPNAME=import sql shop shop -c 'SELECT pg_sleep(20)' &
  clients+=($!)
  p=$(session_pid import)
  if [[ -n $p ]]; then sql postgres postgres -c "SELECT pg_terminate_backend($p)" >/dev/null; fi
  wait_clients
  printf 'work_mem = 128kB\nlog_statement_sample_rate = 0.03\nmax_connections = 30\n' >>"$dir/data/postgresql.conf"
  kill -HUP "$pg_pid"
  bench -n -c 4 -j 1 -T 8 -R 40 -M extended &
  clients+=($!)
  PGAPPNAME=runaway sql shop shop -c 'SELECT pg_sleep(20)' &
  clients+=($!)
  p=$(session_pid runaway)
  sleep 3
  # as the kernel does when it is out of memory: the server recovers
  read -r -a kids <"/proc/$pg_pid/task/$pg_pid/children" || true
  if [[ -n $p && " ${kids[*]} " == *" $p "* ]]; then kill -KILL "$p"; fi
  for _ in 1 2 3; do sql shop shop -c 'SELECT 1' >/dev/null; done
  wait_clients
  sleep 2

  say "fast shutdown under load, restart"
  bench -n -c 6 -j 1 -T 30 -R 60 &
  clients+=($!)
  sleep 4
  end_pid "$pg_pid" INT
  wait_clients
  pg_start
  bench -n -c 4 -j 1 -T 10 -R 90 -M prepared
  sql postgres shop -c 'CHECKPOINT'
  end_pid "$pg_pid" INT
  pg_pid=
}

# --- main -------------------------------------------------------------------

mapfile -t missing < <(missing_packages)
if ((${#missing[@]})); then
  if ((EUID != 0)); then
    die "missing Debian packages: ${missing[*]} (install them, or run as root)"
  fi
  command -v apt-get >/dev/null || die "missing: ${missing[*]}, and there is no apt-get here"
  install_packages "${missing[@]}" >&2
  if [[ -n $made_policy ]]; then
    rm -f "$policy"
    made_policy=
  fi
fi
python=$(find_python)
pg_bin=$(find_pg_bin)
[[ -n $pg_bin ]] || die "PostgreSQL programs (postgres, pgbench) not found; set PG_BIN"

as_web=()
as_pg=()
if ((EUID == 0)); then
  as_web=(setpriv --reuid=www-data --regid=www-data --init-groups)
  as_pg=(setpriv --reuid=postgres --regid=postgres --init-groups)
fi

work=$(mktemp -d "${TMPDIR:-/tmp}/capture-logs.XXXXXX")
chmod 755 "$work"
cd "$work"

nginx -v
"$pg_bin/postgres" --version >&2
capture_nginx
capture_postgresql

mkdir -p "$OUT"
install -m 644 "$work/web/access.log" "$OUT/nginx-access.log"
install -m 644 "$work/web/error.log" "$OUT/nginx-error.log"
install -m 644 "$work/pg/postgresql.log" "$OUT/postgresql.log"
say "done"
wc -lc "$OUT/nginx-access.log" "$OUT/nginx-error.log" "$OUT/postgresql.log"
