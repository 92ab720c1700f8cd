/* lock_daemons: what a Linux client needs of its own machine before it asks a server for a lock (NLM): a port
 * mapper (RFC 1833, version 2, port 111) that the kernel registers itself with, and a status monitor (program
 * 100024) that promises to tell it of restarts. Both only say yes; they run until the machine ends. With the name
 * of a file it asks for a lock of that instead, and says what it got. */

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PORTMAP = 100000, STATUS = 100024, PORTMAP_PORT = 111, STATUS_PORT = 4000 };
enum { SUCCESS = 0, PROG_UNAVAIL = 1, PROG_MISMATCH = 2, PROC_UNAVAIL = 3 };
enum { WORDS_MAX = 256 };

static void fail(const char *what) {
    perror(what);
    exit(1);
}

/* The results of a call; gives how many words, and how it was accepted. */
static size_t results(uint32_t program, uint32_t version, uint32_t procedure, uint32_t asked,
                      uint32_t *accepted, uint32_t *out) {
    *accepted = SUCCESS;
    if (program == PORTMAP && version != 2) {
        *accepted = PROG_MISMATCH;
        out[0] = out[1] = htonl(2);
        return 2;
    }
    if (program != PORTMAP && program != STATUS) {
        *accepted = PROG_UNAVAIL;
        return 0;
    }
    if (procedure == 0)
        return 0;
    if (program == PORTMAP && procedure <= 2) { /* SET, UNSET */
        out[0] = htonl(1);
        return 1;
    }
    if (program == PORTMAP && procedure == 3) { /* GETPORT */
        out[0] = htonl(asked == STATUS ? STATUS_PORT : 0);
        return 1;
    }
    if (program == STATUS && procedure == 2) { /* MON: granted, and a state */
        out[0] = htonl(0);
        out[1] = htonl(1);
        return 2;
    }
    if (program == STATUS && procedure <= 4) { /* UNMON, UNMON_ALL */
        out[0] = htonl(1);
        return 1;
    }
    *accepted = PROC_UNAVAIL;
    return 0;
}

/* Answers a call of so many bytes; gives the bytes of the reply, or none for what is no call. */
static size_t answer(const uint32_t *call, size_t bytes, uint32_t *reply) {
    size_t words = bytes / 4, at = 6;
    for (int skipped = 0; skipped < 2; skipped++) { /* credential and verifier */
        if (at + 2 > words)
            return 0;
        size_t length = ntohl(call[at + 1]);
        if (length > bytes)
            return 0;
        at += 2 + (length + 3) / 4;
    }
    uint32_t accepted, asked = at < words ? ntohl(call[at]) : 0;
    size_t more = results(ntohl(call[3]), ntohl(call[4]), ntohl(call[5]), asked, &accepted, reply + 6);
    reply[0] = call[0];
    reply[1] = htonl(1);
    reply[2] = reply[3] = reply[4] = 0;
    reply[5] = htonl(accepted);
    return (6 + more) * 4;
}

static int read_all(int from, void *into, size_t bytes) {
    for (size_t done = 0; done < bytes;) {
        ssize_t got = read(from, (char *)into + done, bytes - done);
        if (got <= 0)
            return 0;
        done += (size_t)got;
    }
    return 1;
}

static void serve_connection(int connection) {
    uint32_t mark, call[WORDS_MAX], reply[WORDS_MAX];
    while (read_all(connection, &mark, 4)) {
        size_t bytes = ntohl(mark) & 0x7fffffff;
        if (bytes > sizeof call || !read_all(connection, call, bytes))
            break;
        size_t length = answer(call, bytes, reply + 1);
        reply[0] = htonl((uint32_t)length | 0x80000000);
        if (length == 0 || write(connection, reply, length + 4) < 0)
            break;
    }
    exit(0);
}

static int listen_at(int kind, int port) {
    struct sockaddr_in place = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int found = socket(AF_INET, kind, 0);
    if (found < 0 || bind(found, (struct sockaddr *)&place, sizeof place) < 0)
        fail("bind");
    if (kind == SOCK_STREAM && listen(found, 8) < 0)
        fail("listen");
    return found;
}

static void serve_stream(int listener) {
    for (;;) {
        int connection = accept(listener, NULL, NULL);
        if (connection >= 0 && fork() == 0)
            serve_connection(connection);
        if (connection >= 0)
            close(connection);
    }
}

static void serve_datagrams(int found) {
    uint32_t call[WORDS_MAX], reply[WORDS_MAX];
    for (;;) {
        struct sockaddr_storage peer;
        socklen_t size = sizeof peer;
        ssize_t bytes = recvfrom(found, call, sizeof call, 0, (struct sockaddr *)&peer, &size);
        size_t length = bytes > 0 ? answer(call, (size_t)bytes, reply) : 0;
        if (length > 0 && sendto(found, reply, length, 0, (struct sockaddr *)&peer, size) < 0)
            fail("sendto");
    }
}

static int ask_for_lock(const char *path) {
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    int file = open(path, O_RDWR);
    if (file < 0)
        fail("open");
    if (fcntl(file, F_SETLK, &whole) < 0)
        fail("refused");
    puts("locked");
    return 0;
}

int main(int count, char **words) {
    if (count > 1)
        return ask_for_lock(words[1]);
    const int ports[] = {PORTMAP_PORT, STATUS_PORT};
    for (int index = 0; index < 2; index++) {
        int stream = listen_at(SOCK_STREAM, ports[index]), datagrams = listen_at(SOCK_DGRAM, ports[index]);
        if (fork() == 0)
            serve_stream(stream);
        if (fork() == 0)
            serve_datagrams(datagrams);
        close(stream);
        close(datagrams);
    }
    return 0;
}
