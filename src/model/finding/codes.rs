//! The closed list of finding codes, each with the page that `wharf explain CODE` prints.
//!
//! `WH1xxx` are errors, `WH2xxx` warnings. A number is never used again for something else.

use super::Code;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $title:literal, $page:literal;)*) => {
        $($(#[$doc])* pub const $name: Code =
            Code { number: $number, title: $title, page: $page };)*

        /// Every code, in the order of its number.
        pub const ALL: &[Code] = &[$($name),*];
    };
}

/// The code that is written as `text` (`WH1001`, case does not matter).
#[must_use]
pub fn find(text: &str) -> Option<&'static Code> {
    let text = text.trim();
    let digits = text.strip_prefix("WH").or_else(|| text.strip_prefix("wh"))?;
    let number: u16 = digits.parse().ok()?;
    ALL.iter().find(|code| code.number == number)
}

/// True when a finding of this code means that its object, as written, is not taken over: the last
/// valid version keeps serving (decisions 4). Other findings leave the object in force.
#[must_use]
pub const fn invalidates(code: &Code) -> bool {
    matches!(code.number, 1001..=1004 | 1010 | 1011 | 1020..=1039 | 1070 | 1121)
}

codes! {
    /// Text that is neither YAML nor JSON.
    SYNTAX = 1001, "the document is not YAML or JSON",
        "The text of one document could not be read. Documents are separated by lines that start \
         with `---`; each is read on its own, so the other documents of the file are served.\n\n\
         Effect: while wharf runs, the last valid version of the document's object keeps serving. \
         After a restart the object is not served.\n\n\
         Mend it at the place named. Usual causes: a tab as indentation, a missing space behind a \
         colon, an unclosed quote, a value with `: ` or ` #` inside that needs quotes.";
    /// A field with a value of the wrong type.
    WRONG_TYPE = 1002, "a field has the wrong type",
        "The API defines another type for this field, for example a string where a number is \
         written. The API server would refuse the object.\n\n\
         Effect: while wharf runs, the last valid version of the object keeps serving.\n\n\
         A frequent case is an annotation or label whose value is a bare number or `true`: these \
         are strings and need quotes.";
    /// A required field is not there.
    MISSING_FIELD = 1003, "a required field is missing",
        "The API requires this field.\n\n\
         Effect: while wharf runs, the last valid version of the object keeps serving.\n\n\
         Add the field. The place named is the mapping that should hold it.";
    /// A mapping key stands twice.
    DUPLICATE_FIELD = 1004, "a key stands twice in one mapping",
        "A mapping has the same key twice, and only one of the two values could be used.\n\n\
         Effect: while wharf runs, the last valid version of the document's object keeps serving.\n\n\
         Remove one of the two.";
    /// A file or folder could not be read.
    UNREADABLE = 1005, "a file or folder cannot be read",
        "The system refused to read a manifest, for example for lack of permission, or its text \
         is not UTF-8.\n\n\
         Effect: what the file held when it could last be read keeps serving.\n\n\
         Check the owner and the mode of the file and of the folders above it.";
    /// A file over the size limit.
    TOO_LARGE = 1006, "a file is larger than 4 MiB",
        "Manifests over 4 MiB are not read.\n\n\
         Effect: what the file held when it could last be read keeps serving.\n\n\
         Split the file.";
    /// A manifest that is a pipe, device or socket.
    NOT_REGULAR = 1007, "a manifest is not a regular file",
        "A name that ends in .yaml, .yml or .json is a pipe, a socket or a device. wharf reads \
         regular files only, so that nothing can block it.\n\n\
         Effect: the file is skipped.\n\n\
         Remove it or rename it.";
    /// The manifests folder is not there.
    ROOT_MISSING = 1008, "the manifests folder is missing",
        "A folder or file that was given as manifests does not exist at the moment.\n\n\
         Effect: if it was there before, everything it held keeps serving until it is back.\n\n\
         Put it back, or check the path that was given with --manifests.";
    /// Two objects of one kind, namespace and name.
    DUPLICATE_OBJECT = 1009, "an object is defined twice",
        "Two documents define the same kind, namespace and name. A cluster can hold only one.\n\n\
         Effect: the first one, in the order of file names, is served; this one is not.\n\n\
         Remove or rename one of them. A missing `metadata.namespace` means `default`.";
    /// Nesting, aliases or nodes beyond the limits.
    LIMIT = 1010, "the document exceeds a limit",
        "A document may be nested 64 levels deep, aliases may add 10000 nodes to it, and it may \
         have 2000000 nodes.\n\n\
         Effect: while wharf runs, the last valid version of the document's object keeps serving.\n\n\
         Write the document with less nesting or without aliases.";
    /// Name or namespace of an object.
    BAD_NAME = 1011, "an object has no valid name",
        "`metadata.name` must be a DNS subdomain: lower-case letters, digits, `-` and `.`, at most \
         253 characters, starting and ending with a letter or digit. `metadata.namespace` must be a \
         DNS label: the same without `.`, at most 63 characters.\n\n\
         Effect: the object is not taken over.";
    /// `spec.host`.
    BAD_HOST = 1020, "spec.host is not a DNS name",
        "A host must be a DNS name: labels of lower-case letters, digits and `-`, separated by \
         dots; each label at most 63 characters, starting and ending with a letter or digit; at \
         most 253 characters in all. A wildcard is not written with `*`: set \
         `wildcardPolicy: Subdomain` and any host of that domain.\n\n\
         With the annotation `route.openshift.io/allow-non-dns-compliant-host: \"true\"` longer labels \
         pass here, and the router refuses the route (InvalidHost), as in OpenShift.\n\n\
         Effect: while wharf runs, the last valid version of the route keeps serving.";
    /// `spec.subdomain`.
    BAD_SUBDOMAIN = 1021, "spec.subdomain is not a DNS name",
        "A subdomain has the grammar of a host (see WH1020); the router's domain is put behind \
         it.\n\n\
         Effect: while wharf runs, the last valid version of the route keeps serving.";
    /// `spec.path`.
    BAD_PATH = 1022, "spec.path is not a path",
        "A path must start with `/` and must not hold `#` or a space. It is compared byte by byte \
         with the request's path, by whole segments.\n\n\
         Effect: while wharf runs, the last valid version of the route keeps serving.";
    /// Kind or name of a route's target.
    BAD_TARGET = 1023, "a route's target is not a Service",
        "`spec.to.kind` and `spec.alternateBackends[].kind` can only be `Service`, and the name \
         must not be empty.\n\n\
         Effect: while wharf runs, the last valid version of the route keeps serving.";
    /// `weight`.
    BAD_WEIGHT = 1024, "a weight is outside 0 to 256",
        "Weights of `spec.to` and `spec.alternateBackends[]` go from 0 to 256. They are shares, \
         not percent: 1 and 3 mean the same as 64 and 192.\n\n\
         Effect: while wharf runs, the last valid version of the route keeps serving.";
    /// `alternateBackends`.
    TOO_MANY_BACKENDS = 1025, "more than three alternate backends",
        "A route has `spec.to` and at most three `spec.alternateBackends`, each with another \
         name.\n\n\
         Effect: while wharf runs, the last valid version of the route keeps serving.";
    /// `wildcardPolicy`.
    BAD_WILDCARD_POLICY = 1026, "spec.wildcardPolicy is not understood",
        "The policy is `None` or `Subdomain`; `Subdomain` needs a `spec.host`.\n\n\
         Effect: while wharf runs, the last valid version of the route keeps serving.";
    /// `port.targetPort`.
    BAD_PORT = 1027, "spec.port.targetPort is not a port",
        "A target port is a number other than 0 or a name that is not empty. It is compared with \
         the endpoint's port number and name.\n\n\
         Effect: while wharf runs, the last valid version of the route keeps serving.";
    /// `tls.termination`.
    BAD_TERMINATION = 1028, "spec.tls.termination is not understood",
        "The termination is `edge`, `reencrypt` or `passthrough`. Left out, it means `edge`, \
         unless a `destinationCACertificate` is there.\n\n\
         Effect: while wharf runs, the last valid version of the route keeps serving.";
    /// A field that does not go with the termination.
    NOT_FOR_TERMINATION = 1029, "a field does not go with the route's termination",
        "With `passthrough` the router never sees the request, so path, certificate, key, \
         caCertificate, externalCertificate and httpHeaders are refused. \
         `destinationCACertificate` is for `reencrypt` only. `certificate` and \
         `externalCertificate` exclude each other.\n\n\
         Effect: while wharf runs, the last valid version of the route keeps serving.";
    /// `tls.insecureEdgeTerminationPolicy`.
    BAD_INSECURE_POLICY = 1030, "spec.tls.insecureEdgeTerminationPolicy is not understood",
        "The policy for plain HTTP is `None`, `Redirect` or, except for passthrough, `Allow`.\n\n\
         Effect: while wharf runs, the last valid version of the route keeps serving.";
    /// `httpHeaders`.
    BAD_HEADER_ACTION = 1031, "a header action is not understood",
        "Header actions are lists `request` and `response` under `spec.httpHeaders.actions`, at \
         most 20 each. Each has a `name` that no other of its list has, and an `action` of type \
         `Set` (with `set.value`) or `Delete`. `strict-transport-security`, `proxy`, `cookie` and \
         `set-cookie` cannot be changed.\n\n\
         A value is text in which `%` is written `%%`, and samples: `%[req.hdr(NAME)]` in requests, \
         `%[res.hdr(NAME)]` in responses, `%[ssl_c_der]`, each with `,lower` and `,base64` if need \
         be, such as `%[ssl_c_der,base64]`. It has at most 16384 characters, none of them control \
         characters.\n\n\
         Effect: while wharf runs, the last valid version of the route keeps serving.";
    /// PEM content.
    BAD_PEM = 1040, "a certificate or key cannot be read",
        "The PEM text of a certificate, key or CA could not be parsed, holds a block of another \
         type, or uses a key or signature that is refused (RSA under 2048 bits, SHA-1, MD5).\n\n\
         Effect: while wharf runs, the last valid version of the route keeps serving; otherwise \
         the route is not admitted (ExtendedValidationFailed).\n\n\
         See what is in it: `openssl x509 -in FILE -noout -text`, `openssl pkey -in FILE -noout \
         -text`.";
    /// Certificate and key.
    KEY_MISMATCH = 1041, "certificate and key do not match",
        "The public key of the certificate is not the one of the private key.\n\n\
         Effect: while wharf runs, the last valid version of the route keeps serving; otherwise \
         the route is not admitted (ExtendedValidationFailed).\n\n\
         Compare: `openssl x509 -pubkey -noout -in CERT` and `openssl pkey -pubout -in KEY` must \
         print the same. In a chain the leaf certificate comes first.";
    /// Host claims.
    HOST_CLAIMED = 1042, "the host is already claimed",
        "An older route holds this host (and path). The oldest route wins, by creation timestamp \
         and then by order; routes of another namespace cannot share a host.\n\n\
         Effect: this route is not admitted (HostAlreadyClaimed). It is admitted as soon as the \
         holder goes.\n\n\
         Choose another host or path, or remove the other route.";
    /// Router policy.
    NOT_ADMITTED = 1043, "this router does not admit the route",
        "The route is valid, but this router's settings or its version do not serve it: wildcard \
         routes are off unless ROUTER_ALLOW_WILDCARD_ROUTES is set; the host is in \
         ROUTER_DENIED_DOMAINS, or not in ROUTER_ALLOWED_DOMAINS; the host that the router gives \
         (ROUTER_DOMAIN, ROUTER_SUBDOMAIN) is empty or no DNS name.\n\n\
         Effect: the route is not admitted (RouteNotAdmitted, NoHostValue or InvalidHost).";
    /// `externalCertificate`.
    BAD_EXTERNAL_CERTIFICATE = 1044, "the Secret of an external certificate cannot be used",
        "`spec.tls.externalCertificate` must name a Secret of type `kubernetes.io/tls` in the \
         route's namespace, with `tls.crt` and `tls.key`, and its content must pass what \
         certificates and keys inside a route must.\n\n\
         Effect: while wharf runs, the last good content of the Secret keeps serving. With none, \
         or if the type is wrong, the route is not admitted (ExtendedValidationFailed, \
         ExternalCertificateValidationFailed).";
    /// An allow list that lets nobody in.
    ALLOW_LIST_DENIES_ALL = 1050, "the allow list has no valid entry",
        "The annotation that restricts clients is set, but none of its entries is an IP address \
         or network. wharf then denies everybody; OpenShift would let everybody in, and so does \
         wharf with --compat-allowlist-fail-open.\n\n\
         Effect: every client of the route is refused.\n\n\
         Write addresses or CIDR networks, separated by spaces or commas, or remove the \
         annotation.";
    /// A route to a Service that is not there.
    UNKNOWN_SERVICE = 1060, "a route names a Service that does not exist",
        "No Service of this name exists in the route's namespace among the manifests.\n\n\
         Effect: the route is admitted, and requests get the 503 page.\n\n\
         Check name and namespace, or add the Service.";
    /// A Secret that is not there.
    UNKNOWN_SECRET = 1061, "a route names a Secret that does not exist",
        "No Secret of this name exists in the route's namespace among the manifests.\n\n\
         Effect: the route is not admitted until the Secret exists.\n\n\
         Check name and namespace, or add the Secret.";
    /// A target port that nothing has.
    UNKNOWN_PORT = 1062, "no port matches spec.port.targetPort",
        "Neither the Service nor its endpoints have a port of this number or name. A number is \
         compared with the endpoint's port, which is the Service's targetPort and not its port; a \
         name with the name of the Service's port.\n\n\
         Effect: the route has no endpoints, and requests get the 503 page.";
    /// One alternate backend twice.
    ALTERNATE_TWICE = 1070, "a service is listed twice in spec.alternateBackends",
        "The list has an entry for each name and kind, and the API server refuses a second one.\n\n\
         Effect: while wharf runs, the last valid version of the route keeps serving.\n\n\
         Remove one of the two, or add their weights.";
    /// A Service of type LoadBalancer that its controller refuses.
    BALANCER_REFUSED = 1071, "no load balancer can be made of a Service",
        "The controller that programs load balancers (the cloud provider for the type nlb, the AWS \
         Load Balancer Controller for the type external) would report an error for this Service: a \
         value of an annotation that it, or the API of AWS, refuses.\n\n\
         Effect: while wharf runs, the load balancer of the Service stays as it is. After a restart \
         there is none.\n\n\
         Mend the field named. Lists of attributes are KEY=VALUE,KEY=VALUE; numbers have no unit; \
         intervals are 5 to 300 seconds, thresholds 2 to 10.";
    /// A listen address that two Services want.
    BALANCER_PORT_TAKEN = 1072, "two load balancers want one port",
        "In AWS each load balancer has addresses of its own. Here, several Services of type \
         LoadBalancer share those of one machine, and this port of this Service is taken by the \
         Service before it, in the order of namespace and name.\n\n\
         Effect: the load balancer runs without the port.\n\n\
         Give it an address or a port of its own: `--listen-map NAMESPACE/NAME:443=127.0.0.2:443`.";
    /// A certificate of other authorities.
    BAD_CHAIN = 1080, "a certificate does not come from its CA",
        "`spec.tls.caCertificate` is given, and none of its certificates has signed the first one \
         of `spec.tls.certificate`, or it may not: it is no authority, or one of the two is not \
         made for servers. Only caCertificate counts here, not what stands behind the first \
         certificate. Dates and names are not looked at.\n\n\
         Effect: while wharf runs, the last valid version of the route keeps serving; otherwise \
         the route is not admitted (ExtendedValidationFailed).\n\n\
         Look: `openssl x509 -noout -issuer -in CERT` must be `openssl x509 -noout -subject -in \
         CA`, and `openssl verify -partial_chain -trusted CA CERT` must say OK.";
    /// The files of the default certificate.
    BAD_DEFAULT_CERTIFICATE = 1081, "the default certificate cannot be used",
        "The file of the default certificate, or `tls.crt` or `tls.key` in its folder, has changed, and \
         what is there now is no certificate with its key.\n\n\
         Effect: the certificate that was read last is served on. At the start of the router the same \
         fault stops it.\n\n\
         Put a good pair in its place. `openssl x509 -noout -pubkey` and `openssl pkey -pubout` show \
         whether certificate and key belong together.";
    /// The file of authorities of client certificates.
    CLIENT_CA = 1090, "the authorities of client certificates cannot be used",
        "The file of ROUTER_MUTUAL_TLS_AUTH_CA has changed, and what it holds now is not a list of \
         PEM certificates that can be authorities.\n\n\
         Effect: the authorities that were read last decide on. At the start of the router the same \
         fault stops it.\n\n\
         Put a good file in its place, by a rename. `openssl storeutl -certs FILE` shows what it \
         holds.";
    /// The file of revocation lists.
    CLIENT_CRL = 1091, "the revocation lists of client certificates cannot be used",
        "The file of ROUTER_MUTUAL_TLS_AUTH_CRL has changed, and what it holds now are not \
         revocation lists, in PEM or one in DER, of version 2.\n\n\
         Effect: the lists that were read last decide on, until they end; then every client \
         certificate fails. At the start of the router the same fault stops it.\n\n\
         Put a good file in its place, by a rename. `openssl crl -text -in FILE` shows what it \
         holds.";
    /// The service CA of reencrypt routes.
    BAD_SERVICE_CA = 1100, "the CA of pods' certificates cannot be used",
        "Pods of `reencrypt` routes without a `destinationCACertificate` are verified against the \
         file of `DEFAULT_DESTINATION_CA_PATH` or `--default-destination-ca`, or against the service \
         account's `service-ca.crt`. That file cannot be read, or holds no PEM certificate.\n\n\
         Effect: the certificates that it last held stay in force. If there were none, no pod of \
         such a route passes, and its clients get 503 (`tls_verify_failed`).\n\n\
         Put the PEM certificate of the authority there that has signed the pods' certificates. The \
         file is read again when it changes.";
    /// A destination CA that is not PEM.
    BAD_DESTINATION_CA = 1101, "the destination CA of a route cannot be read",
        "`spec.tls.destinationCACertificate` says whose certificates the pods of a `reencrypt` route \
         may show. It holds no PEM certificate, or one that cannot be read.\n\n\
         Effect: the route is not admitted. No earlier version stands in for it: what the field was \
         to trust is not known.\n\n\
         Put one or more PEM certificates there: the authority that has signed the pods' \
         certificates, up to its root, or the pod's own certificate if that signs itself. Without \
         the field the router's own CA counts.";
    /// [IPL-2, IPL-3].
    ALLOW_LIST_IGNORED = 1110, "the allow list lets everybody in",
        "The annotation that restricts clients is set, but OpenShift's router does not understand \
         it: it begins or ends with a blank, or none of its entries is an IP address or network. \
         Entries are separated by blanks, so a list with commas is one bad entry. The router was \
         started with --compat-allowlist-fail-open, so this list counts for nothing here either.\n\n\
         Effect: every client may use the route.\n\n\
         Write addresses or CIDR networks, separated by single blanks, or start the router without \
         the flag: it then trims blanks, takes commas, and lets nobody in if no entry is valid.";
    /// A file of ROUTER_ERRORFILE_503 or ROUTER_ERRORFILE_404.
    BAD_PAGE = 1120, "an error page is not a whole HTTP response",
        "ROUTER_ERRORFILE_503 and ROUTER_ERRORFILE_404 name files with a whole HTTP/1 response: a \
         status line such as `HTTP/1.0 503 Service Unavailable`, header fields, an empty line, and \
         the body; 64 KiB at most, without a transfer coding, and with a Content-Length only if it \
         is that of the body.\n\n\
         Effect: at start the router does not come up. While it runs, the last valid page keeps \
         being sent.\n\n\
         Mend the file at the line named. `curl -si` against a router prints its page in this form.";
    /// A field of an Ingress.
    BAD_INGRESS = 1121, "a field of an Ingress is not valid",
        "The API server would refuse the Ingress for this field: a host, a path, its type, a \
         backend or a class.\n\n\
         Effect: while wharf runs, the last valid version of the Ingress keeps serving.\n\n\
         Mend the field. Paths of type Prefix and Exact start with `/`; a backend has a service with \
         a port name or a port number.";
    /// A Route that the Route API would refuse.
    INGRESS_NOT_CONVERTED = 1122, "no Route can be made of a part of an Ingress",
        "An Ingress is served by making a Route of each of its paths. This one would not be a valid \
         Route, for example because passthrough goes with no path, or for a `#` in the path. In a \
         cluster this is the event FailedIngressToRouteConversion.\n\n\
         Effect: the path is not served; the others of the Ingress are.\n\n\
         Mend what the text says, or write a Route.";
    /// A Service, port or Secret that is not there.
    INGRESS_INCOMPLETE = 1123, "a part of an Ingress waits for another object",
        "The Service, its port, or the Secret that the Ingress names for this host is missing, or \
         the Secret is not a kubernetes.io/tls Secret with `tls.crt` and `tls.key`. In a cluster \
         this is the event IncompleteIngressToRouteRules.\n\n\
         Effect: no Route is made for it until the object is there; then it is made at once.\n\n\
         Add or mend the object named.";
    /// A field that the API does not have.
    UNKNOWN_FIELD = 2001, "a field is unknown",
        "The API has no field of this name here, so it has no effect. Names are case-sensitive.\n\n\
         Effect: the object is served without it.";
    /// A kind or apiVersion that looks like one of ours.
    UNKNOWN_KIND = 2002, "a kind looks misspelled",
        "The document's kind or apiVersion is close to one that wharf reads, but not the same, so \
         the document is ignored.\n\n\
         wharf reads: Route (route.openshift.io/v1), Service, Endpoints, Secret, Namespace, Node, List \
         (v1), EndpointSlice (discovery.k8s.io/v1), Ingress and IngressClass (networking.k8s.io/v1). \
         Other kinds are ignored in silence.";
    /// An annotation of OpenShift's prefixes that does not exist.
    UNKNOWN_ANNOTATION = 2003, "an annotation is unknown",
        "The prefixes haproxy.router.openshift.io/ and router.openshift.io/ belong to the router, \
         and it does not know this name.\n\n\
         Effect: none; the route is served without it.";
    /// An annotation value that is skipped.
    BAD_ANNOTATION = 2004, "an annotation's value is not understood",
        "The value does not have the grammar of this annotation. As in OpenShift it is skipped, \
         and the router's default is used.\n\n\
         Durations are a number without leading zero and one unit of us, ms, s, m, h, d (no unit: \
         ms), such as `30s`; `1.5s`, `0s` and `1h30m` are not durations. Bools are true, True, \
         TRUE, t, T, 1 and false, False, FALSE, f, F, 0. Balance is roundrobin, leastconn, source \
         or random.";
    /// One bad entry of an allow list.
    BAD_ALLOW_LIST_ENTRY = 2005, "an allow list entry is not an address",
        "The entry is neither an IP address nor a CIDR network. It is left out; the other entries \
         are in force.";
    /// `host` beside `subdomain`.
    SUBDOMAIN_IGNORED = 2006, "spec.subdomain is ignored",
        "`spec.host` is set, and then `spec.subdomain` has no effect. Remove one of the two.";
    /// An annotation without effect for this termination.
    NO_EFFECT = 2007, "an annotation has no effect here",
        "The annotation exists, but not for this route: some need TLS that ends at the router, \
         some need requests that the router can see.";
    /// A symbolic link that leads elsewhere.
    OUTSIDE_ROOT = 2008, "a symbolic link leads out of the manifests folder",
        "The link's target is outside of the folder that was given, or does not exist. wharf does \
         not follow it.\n\n\
         Effect: the file is skipped. Give the other folder with --manifests as well, or copy the \
         file.";
    /// The last valid version is served.
    LAST_GOOD = 2009, "the last valid version keeps serving",
        "The object's new text is not valid (another finding says why), so the version before it \
         is still in force. A restart would lose it: mend the file first.";
    /// [EPF-2].
    ENDPOINT_REFUSED = 2010, "an endpoint address is refused",
        "Endpoints at loopback, link-local, multicast and unspecified addresses, and at cloud \
         metadata addresses, are dropped, so that nobody reaches the router's own host through a \
         route.\n\n\
         Effect: the address gets no traffic; the others do. For a test bed on one machine there \
         is --allow-loopback-endpoints.";
    /// One service twice in a route.
    SERVICE_TWICE = 2011, "a service is listed twice in a route",
        "`spec.to` and `spec.alternateBackends` name the same Service more than once. Only the \
         last weight counts.";
    /// A namespace that only its labels could select.
    UNLISTED_NAMESPACE = 2070, "a namespace has routes and no Namespace manifest",
        "This router selects namespaces by their labels (NAMESPACE_LABELS or PROJECT_LABELS), and a \
         namespace without a manifest has none.\n\n\
         Effect: the router does not know the routes of this namespace.\n\n\
         Add a Namespace manifest with the labels that it has in the cluster.";
    /// PEM text whose rest is ignored.
    PEM_CUT = 2080, "the end of a PEM text is ignored",
        "A block has no last line of its own, such as `-----END CERTIFICATE-----` for one that \
         began as CERTIFICATE. As in OpenShift, reading stops there.\n\n\
         Effect: what is in front of the block is used, the block and what follows are not: a \
         chain may be shorter than it was meant to be.";
    /// A revocation list that is not to be had.
    CRL_DOWNLOAD = 2090, "a revocation list cannot be downloaded",
        "The authorities of client certificates name a place with their revocation list, and it \
         could not be downloaded from there.\n\n\
         Effect: a list that was downloaded before counts until it ends. Without one, every client \
         certificate fails. The download is tried again every five minutes.\n\n\
         Let the router reach the address, or give it the lists as a file with \
         ROUTER_MUTUAL_TLS_AUTH_CRL.";
    /// Reencrypt without a CA.
    PODS_NOT_VERIFIED = 2100, "the pods of a reencrypt route are not verified",
        "A `reencrypt` route speaks TLS with its pods, but names no `destinationCACertificate`, and \
         the router has no CA of its own for pods. As in OpenShift, any certificate is accepted \
         then.\n\n\
         Effect: the route is served. Who can answer at a pod's address can read and change what is \
         sent there.\n\n\
         Set `spec.tls.destinationCACertificate`, or start the router with \
         `--default-destination-ca PEM` or DEFAULT_DESTINATION_CA_PATH.";
    /// An action on framing.
    FRAMING_ACTION = 2101, "a header action does nothing",
        "The action names a field that says where a message ends or what the connection is for: \
         connection, content-length, http2-settings, keep-alive, proxy-connection, te, \
         transfer-encoding or upgrade. The router writes these by itself, for each side of its own.\n\n\
         Effect: the action is left out, the route's other actions run. OpenShift's router would send \
         a broken message.";
    /// [REW-6].
    REWRITE_TARGET = 2110, "a rewrite target is not what it looks like",
        "OpenShift's router once wrote the value of rewrite-target into a configuration without \
         quotes, and reads it like that to this day; wharf does the same. An unescaped `#` begins a \
         comment: it and what follows are dropped, and what follows `spec.path` in a request is lost \
         as well, so that every request has the same path. What no request line can hold, such as a \
         blank, is sent percent-encoded.\n\n\
         Effect: pods see another path than the annotation seems to say.\n\n\
         Write a path of unreserved characters; `%23` for `#`, `%20` for a blank.";
    /// The class of an Ingress.
    INGRESS_NOT_MANAGED = 2120, "an Ingress names a class that does not exist",
        "An Ingress with a class is served only if there is an IngressClass of that name whose \
         `spec.controller` is `openshift.io/ingress-to-route`. One without any class is served.\n\n\
         Effect: nothing of the Ingress is served.\n\n\
         Remove `spec.ingressClassName` (or the annotation `kubernetes.io/ingress.class`), or add \
         the IngressClass. An Ingress whose class belongs to another controller is left alone, and \
         nothing is said about it.";
    /// A rule, path or backend of an Ingress that has no Route.
    INGRESS_SKIPPED = 2121, "a part of an Ingress is not served",
        "Routes have a host, go to Services and match by prefix. What an Ingress says beyond that \
         is left out, as OpenShift does: rules without host, default backends, resource backends, \
         and paths of type Exact.\n\n\
         Effect: this part is not served; the others are.";
    /// An annotation about the conversion.
    INGRESS_ANNOTATION = 2122, "an annotation of an Ingress is not understood",
        "The value of an annotation that directs the conversion to Routes cannot be used, so it is \
         as if it were not there. In a cluster this is the event InvalidAnnotationValue. The page of \
         WH2004 is about annotations of Routes, which an Ingress may have as well: they are copied.";
    /// An interval of checks that is shorter than the router allows.
    CHECKS_TOO_OFTEN = 2130, "a route asks for checks too often",
        "`router.openshift.io/haproxy.health.check.interval` sets the time between two checks of each \
         endpoint of the route. Checks are work for a router that all routes share, so no route gets \
         them more often than every 100 milliseconds.\n\n\
         Effect: the endpoints are checked every 100 milliseconds.\n\n\
         Write a longer time. The default is ROUTER_BACKEND_CHECK_INTERVAL, 5 seconds.";
    /// Rate limits that let nobody in.
    RATE_LIMIT_REFUSES_ALL = 2141, "a rate limit refuses every client",
        "As in OpenShift, a client is refused once the count has reached the number, and with \
         `concurrent-tcp` and `rate-tcp` the newcomer itself is counted: 1 lets nobody in, 2 lets one \
         in. With `rate-http` 1 lets one in. Zero and negative numbers let nobody in.\n\n\
         Effect: every client of the route is refused.\n\n\
         Raise the number by one, or remove the annotation for no limit.";
    /// An annotation of load balancers that does nothing here.
    BALANCER_NO_EFFECT = 2150, "an annotation of a load balancer has no effect",
        "The annotation exists, but the controller that the Service chooses does not read it, or \
         this load balancer does not do what it asks for.\n\n\
         Effect: the load balancer is made without it.";
    /// An annotation of load balancers that nobody knows.
    BALANCER_UNKNOWN_ANNOTATION = 2151, "an annotation of a load balancer is unknown",
        "The prefix service.beta.kubernetes.io/aws-load-balancer- belongs to the controllers of \
         load balancers, and none of them knows this name.\n\n\
         Effect: none; the load balancer is made without it.";
    /// A port without a listener or without targets.
    BALANCER_PORT_SKIPPED = 2152, "a port of a load balancer does not work",
        "The load balancer has no listener for this port of the Service, or no target: the protocol \
         is not served, a TLS listener has no certificate here, or nodes are targets and the port \
         has no nodePort.\n\n\
         Effect: the load balancer runs with its other ports.";
    /// A Service that cannot be dialled at its cluster IP.
    NO_CLUSTER_IP = 2160, "a Service is not dialled at its cluster IP",
        "With --upstream cluster-ip the router dials the cluster IP of a Service, and kube-proxy or \
         `wharf proxy` chooses the pod. That cannot be done for a Service without a cluster IP \
         (headless, an external name, a manifest that names no address), where no port of the Service \
         has the name of the port of its endpoints, and where the address leads, or may lead, to one \
         that a router must never dial.\n\n\
         Effect: the endpoints of this Service are dialled, as without --upstream; the others are \
         dialled at their cluster IPs.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_sorted_unique_and_found_by_their_text() {
        assert!(ALL.is_sorted_by(|a, b| a.number < b.number));
        for code in ALL {
            assert_eq!(find(&code.to_string()), Some(code));
            assert!(code.page.len() > 60 && !code.title.ends_with('.'), "{code}");
        }
        assert_eq!(find("WH9999"), None);
        assert_eq!(find("1001"), None);
    }

    #[test]
    fn no_warning_invalidates_an_object() {
        assert!(ALL.iter().filter(|code| invalidates(code)).all(|code| code.number < 2000));
    }
}
