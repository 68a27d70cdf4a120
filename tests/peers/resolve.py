"""Looks names up as dnspython does, by /etc/resolv.conf and its search list.

Each argument is NAME/TYPE; each line of output is what was found, sorted, or NXDOMAIN or NODATA.
"""

import sys

import dns.resolver

resolver = dns.resolver.Resolver(configure=True)
# The search list is used as glibc does.
resolver.use_search_by_default = True
for argument in sys.argv[1:]:
    name, record_type = argument.rsplit("/", 1)
    try:
        answer = resolver.resolve(name, record_type, lifetime=20)
        print(" ".join(sorted(record.to_text() for record in answer)))
    except dns.resolver.NXDOMAIN:
        print("NXDOMAIN")
    except dns.resolver.NoAnswer:
        print("NODATA")
