"""HAProxy for `bench/peers`: at its best, and with the work that OpenShift's router makes it do.

The second one follows what the real router writes: lists of regular expressions with an entry for each
route in reverse order, a UNIX socket with PROXY protocol before everything that terminates TLS, the header
rules of a frontend, and in each backend the forwarded headers, a cookie, random balance and checks.
"""

import hashlib
import re
import resource

# The intermediate list for TLS 1.2, and AES-128 first for 1.3, as all peers here.
CIPHERS = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384"
SUITES = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"

# The router's, but for the client's: with its 30 s the idle rows lose connections on a busy machine.
TIMERS = """
    timeout connect 5s
    timeout client 300s
    timeout client-fin 1s
    timeout server 30s
    timeout server-fin 1s
    timeout http-request 10s
    timeout http-keep-alive 300s
    timeout tunnel 1h
"""

X_SSL = (
    "", "-Client-Cert", "-Client-SHA1", "-Client-DN", "-Client-CN", "-Issuer", "-Client-NotBefore",
    "-Client-NotAfter", "-Client-Serial", "-Client-Verify", "-Client-Version", "-Client-DER",
)  # fmt: skip


def head(setup, more=""):
    logging = "    log global\n    option httplog\n" if setup.log else ""
    # 50000 as the real router, or what the descriptors are enough for: it does not start with more.
    most = min(50_000, resource.getrlimit(resource.RLIMIT_NOFILE)[1] // 2 - 400)
    return f"""global
    maxconn {most}
    nbthread 1
    {"log stdout format raw local0" if setup.log else ""}
    ssl-default-bind-options ssl-min-ver TLSv1.2
    ssl-default-bind-ciphers {CIPHERS}
    ssl-default-bind-ciphersuites {SUITES}
{more}
defaults
    mode http
    maxconn {most}
{logging}{TIMERS}"""


def minimal(setup, address):
    """One frontend, one backend, no rules but the forwarded address; hosts are one tree lookup.

    Buffers of 32 KiB and splice(2) make large bodies cheaper than the defaults.
    """
    choose = "default_backend pods"
    if setup.hosts:
        names = setup.work / "minimal.hosts"
        names.write_text("".join(f"{host} pods\n" for host in setup.all_hosts()))
        choose = f"use_backend %[req.hdr(host),field(1,:),map_str({names})]"
    servers = "".join(f"    server pod{n} {pod}:8080\n" for n, pod in enumerate(setup.pods))
    buffers = "    tune.bufsize 32768\n    maxpipes 200\n"
    return f"""{head(setup, buffers)}
frontend all
    bind {address}:8080
    bind {address}:8443 ssl crt {setup.pem} alpn h2,http/1.1
    option forwardfor
    option splice-auto
    {choose}
backend pods
    http-reuse always
{servers}"""


def entry(host):
    """What the router writes for a host without a path."""
    return f"^{re.escape(host)}\\.?(:[0-9]+)?(/.*)?$"


def md5(text):
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def route_backend(setup, name):
    check = " check inter 5000ms" if len(setup.pods) > 1 else ""
    servers = "".join(
        f"    server pod:{name}-{n}:{pod}:8080 {pod}:8080 cookie {md5(f'{name}{pod}')} weight 1{check}\n"
        for n, pod in enumerate(setup.pods)
    )
    forwarded = "host=%[req.hdr(host)];proto=%[req.hdr(X-Forwarded-Proto)]"
    return f"""backend be_edge_http:bench:{name}
    balance random
    option redispatch
    option forwardfor
    timeout check 5000ms
    http-request add-header X-Forwarded-Host %[req.hdr(host)]
    http-request add-header X-Forwarded-Port %[dst_port]
    http-request add-header X-Forwarded-Proto http if !{{ ssl_fc }}
    http-request add-header X-Forwarded-Proto https if {{ ssl_fc }}
    http-request add-header X-Forwarded-Proto-Version h2 if {{ ssl_fc_alpn -i h2 }}
    http-request add-header Forwarded for=%[src];{forwarded} if !{{ src -m ip 2000::/3 }}
    http-request add-header Forwarded for="[%[src]]";{forwarded} if {{ src -m ip 2000::/3 }}
    cookie {md5(f"bench:{name}")} insert indirect nocache httponly
{servers}"""


def write_maps(setup, names):
    """`names` are (host, route), in any order."""
    ordered = sorted(names, reverse=True)
    backends = "".join(f"{entry(host)} be_edge_http:bench:{name}\n" for host, name in ordered)
    files = {
        "redirect": "".join(f"{entry(host)} 0\n" for host, _ in ordered),
        "plain": backends,
        "edge": backends,
        "passthrough": "^passthrough\\.bench\\.test$ 1\n",
        "tcp": "^passthrough\\.bench\\.test$ openshift_default\n",
        "certs": f"{setup.pem} [alpn h2,http/1.1] bench.test\n",
    }
    for name, text in files.items():
        (setup.work / f"openshift.{name}").write_text(text)


def frontend_rules(work, chosen):
    deleted = "".join(f"    http-request del-header X-SSL{name}\n" for name in X_SSL)
    listed = f"base,map_reg_int({work}/openshift.redirect) -m bool"
    redirect = f"    http-request redirect scheme https code 302 if {{ {listed} }}\n"
    return f"""    http-request deny if {{ hdr_len(content-length) 0 }}
    http-request del-header Proxy
{deleted}    http-request set-header Host %[req.hdr(Host),lower]
{redirect if chosen == "plain" else ""}    use_backend %[base,map_reg({work}/openshift.{chosen})]
    default_backend openshift_default
"""


def openshift(setup, address):
    names = setup.routes()
    write_maps(setup, names)
    work = setup.work
    buffers = "    tune.bufsize 32768\n    tune.maxrewrite 8192\n"
    listeners = "".join(
        f"""frontend fe_{kind}
    bind unix@{work}/openshift.{kind}.sock ssl crt {setup.pem}{certificates} accept-proxy
{frontend_rules(work, "edge")}backend be_{kind}
    mode tcp
    server fe_{kind} unix@{work}/openshift.{kind}.sock weight 1 send-proxy
"""
        for kind, certificates in (("sni", f" crt-list {work}/openshift.certs"), ("no_sni", ""))
    )
    return f"""{head(setup, buffers)}
frontend public
    bind {address}:8080
{frontend_rules(work, "plain")}
frontend public_ssl
    mode tcp
    {"option tcplog" if setup.log else ""}
    bind {address}:8443
    tcp-request inspect-delay 5s
    tcp-request content accept if {{ req_ssl_hello_type 1 }}
    acl sni req.ssl_sni -m found
    acl sni_passthrough req.ssl_sni,lower,map_reg({work}/openshift.passthrough) -m found
    use_backend %[req.ssl_sni,lower,map_reg({work}/openshift.tcp)] if sni sni_passthrough
    use_backend be_sni if sni
    default_backend be_no_sni
{listeners}backend openshift_default
    http-request return status 503
{"".join(route_backend(setup, name) for _, name in names)}"""
