/* Looks names up by getaddrinfo, as the C library that this is linked with does. One line for each
 * argument: the addresses in the order found, or "none". */
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

int main(int count, char **names) {
    for (int i = 1; i < count; i++) {
        struct addrinfo hints, *found = NULL;
        memset(&hints, 0, sizeof hints);
        hints.ai_socktype = SOCK_STREAM;
        if (getaddrinfo(names[i], "80", &hints, &found) != 0) {
            puts("none");
            continue;
        }
        for (struct addrinfo *one = found; one; one = one->ai_next) {
            char text[INET6_ADDRSTRLEN];
            const void *address = one->ai_family == AF_INET
                ? (void *)&((struct sockaddr_in *)one->ai_addr)->sin_addr
                : (void *)&((struct sockaddr_in6 *)one->ai_addr)->sin6_addr;
            printf("%s%s", inet_ntop(one->ai_family, address, text, sizeof text),
                   one->ai_next ? " " : "\n");
        }
        freeaddrinfo(found);
    }
    return 0;
}
