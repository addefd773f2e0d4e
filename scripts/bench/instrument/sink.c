// The upstreams of the benchmark: two ports that answer 200 to every request and count the events in it.
//
//   sink CONTROL_PORT SEGMENT_PORT RUDDERSTACK_PORT [CERTIFICATE KEY]      with a certificate the upstreams speak TLS 1.3
//
// Control (plain HTTP): GET /counts and GET /reset answer {"requests":[a,b],"events":[a,b],"bytes":[a,b],"connections":[a,b]}.
// An event is an occurrence of "messageId" in a body, after gzip is undone; so a batch counts as what is in it.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zlib.h>

enum { CONTROL, UPSTREAMS = 2, PORTS, CONNECTIONS_MAX = 65536, READ_SIZE = 65536, REQUEST_BYTES_MAX = 16 << 20 };

struct connection {
    int port;
    SSL *tls;
    char *bytes;
    size_t length, capacity, needed; // `needed` bytes make the next request complete, as far as is known
};

static struct connection *connections[CONNECTIONS_MAX];
static int listeners[PORTS];
static unsigned long requests[PORTS], events[PORTS], bytes[PORTS], accepted[PORTS];
static SSL_CTX *tls_context;

static unsigned long count_events(const char *text, size_t length) {
    static const char key[] = "\"messageId\"";
    unsigned long count = 0;
    const char *end = text + length;
    while ((text = memmem(text, end - text, key, sizeof key - 1))) count++, text += sizeof key - 1;
    return count;
}

static unsigned long count_gzip_events(char *body, size_t length) {
    static char text[REQUEST_BYTES_MAX];
    z_stream stream = { .next_in = (Bytef *)body, .avail_in = length, .next_out = (Bytef *)text, .avail_out = sizeof text };
    if (inflateInit2(&stream, 31) != Z_OK) return 0;
    int outcome = inflate(&stream, Z_FINISH);
    inflateEnd(&stream);
    return outcome == Z_STREAM_END ? count_events(text, stream.total_out) : 0;
}

static int send_all(struct connection *c, int fd, const char *text, int length) {
    if (c->tls) return SSL_write(c->tls, text, length) == length;
    return send(fd, text, length, MSG_NOSIGNAL) == length;
}

static int answer_control(struct connection *c, int fd) {
    if (!strncmp(c->bytes, "GET /reset", 10))
        for (int i = 0; i < PORTS; i++) requests[i] = events[i] = bytes[i] = accepted[i] = 0;
    char json[512], answer[640];
    int length = sprintf(json, "{\"requests\":[%lu,%lu],\"events\":[%lu,%lu],\"bytes\":[%lu,%lu],\"connections\":[%lu,%lu]}",
        requests[1], requests[2], events[1], events[2], bytes[1], bytes[2], accepted[1], accepted[2]);
    return send_all(c, fd, answer, sprintf(answer, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", length, json));
}

// Undoes chunked encoding in place. The end of the encoded body, or 0 when it is not all there yet.
static char *join_chunks(char *body, const char *end, size_t *length) {
    char *from = body;
    size_t size, total = 0;
    do { // once to measure
        char *line = memmem(from, end - from, "\r\n", 2);
        if (!line) return 0;
        size = strtoul(from, 0, 16);
        total += size;
        from = line + 2 + size + 2;
        if (from > end) return 0;
    } while (size);
    char *last = from, *to = body;
    for (from = body; total; total -= size, from += size + 2, to += size) { // once to move
        size = strtoul(from, 0, 16);
        from = (char *)memmem(from, end - from, "\r\n", 2) + 2;
        memmove(to, from, size);
    }
    *length = to - body;
    return last;
}

// Answers one request when it is complete. 1: answered, 0: not all there yet, -1: the connection is of no more use.
static int take_request(struct connection *c, int fd) {
    if (c->length < c->needed) return 0;
    char *end = c->bytes + c->length, *head_end = memmem(c->bytes, c->length, "\r\n\r\n", 4);
    if (!head_end) return 0;
    char *body = head_end + 4, *next;
    size_t length = 0;
    int gzip = 0, chunked = 0, closes = 0;
    for (char *line = c->bytes; line < head_end; line = (char *)memmem(line, body - line, "\r\n", 2) + 2) {
        if (!strncasecmp(line, "content-length:", 15)) length = strtoul(line + 15, 0, 10);
        else if (!strncasecmp(line, "transfer-encoding: chunked", 26)) chunked = 1;
        else if (!strncasecmp(line, "content-encoding: gzip", 22)) gzip = 1;
        else if (!strncasecmp(line, "connection: close", 17)) closes = 1;
    }
    if (chunked) {
        if (!(next = join_chunks(body, end, &length))) return 0;
    } else {
        next = body + length;
        if (next > end) return c->needed = next - c->bytes, 0;
    }
    int sent;
    if (c->port == CONTROL) sent = answer_control(c, fd);
    else {
        static const char ok[] = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n{\"success\":true}";
        requests[c->port]++;
        bytes[c->port] += length;
        events[c->port] += gzip ? count_gzip_events(body, length) : count_events(body, length);
        sent = send_all(c, fd, ok, sizeof ok - 1);
    }
    c->length = end - next;
    c->needed = 0;
    memmove(c->bytes, next, c->length);
    return sent && !closes ? 1 : -1;
}

static void drop(int fd) {
    if (connections[fd]->tls) SSL_free(connections[fd]->tls);
    free(connections[fd]->bytes);
    free(connections[fd]);
    connections[fd] = 0;
    close(fd);
}

static void read_from(int fd) {
    struct connection *c = connections[fd];
    for (;;) {
        if (c->capacity - c->length < READ_SIZE) {
            c->capacity = c->length + 2 * READ_SIZE;
            if (c->capacity > REQUEST_BYTES_MAX || !(c->bytes = realloc(c->bytes, c->capacity))) return drop(fd);
        }
        int count = c->tls ? SSL_read(c->tls, c->bytes + c->length, READ_SIZE) : (int)recv(fd, c->bytes + c->length, READ_SIZE, 0);
        if (count <= 0) {
            int waits = c->tls ? SSL_get_error(c->tls, count) == SSL_ERROR_WANT_READ : count < 0 && (errno == EAGAIN || errno == EINTR);
            if (!waits) drop(fd);
            return;
        }
        c->length += count;
        int taken;
        while ((taken = take_request(c, fd)) > 0) {}
        if (taken < 0) return drop(fd);
        if (!c->tls && count < READ_SIZE) return; // all that was there; TLS must be asked until it says so
    }
}

static void accept_from(int poll, int port) {
    int fd;
    while ((fd = accept4(listeners[port], 0, 0, SOCK_NONBLOCK)) >= 0) {
        if (fd >= CONNECTIONS_MAX) { close(fd); continue; }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        struct connection *c = connections[fd] = calloc(1, sizeof *c);
        c->port = port;
        accepted[port]++;
        if (tls_context && port != CONTROL) {
            c->tls = SSL_new(tls_context);
            SSL_set_fd(c->tls, fd);
            SSL_set_accept_state(c->tls);
        }
        epoll_ctl(poll, EPOLL_CTL_ADD, fd, &(struct epoll_event){ .events = EPOLLIN, .data.fd = fd });
    }
}

static void listen_on(int poll, int index, int port) {
    listeners[index] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(listeners[index], SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    if (bind(listeners[index], (void *)&address, sizeof address) || listen(listeners[index], 4096)) { perror("sink: bind"); exit(1); }
    epoll_ctl(poll, EPOLL_CTL_ADD, listeners[index], &(struct epoll_event){ .events = EPOLLIN, .data.fd = listeners[index] });
}

int main(int count, char **arguments) {
    if (count != 1 + PORTS && count != 1 + PORTS + 2) { fprintf(stderr, "usage: sink CONTROL SEGMENT RUDDERSTACK [CERTIFICATE KEY]\n"); return 2; }
    signal(SIGPIPE, SIG_IGN);
    if (count > 1 + PORTS) {
        tls_context = SSL_CTX_new(TLS_server_method());
        SSL_CTX_set_min_proto_version(tls_context, TLS1_3_VERSION);
        if (SSL_CTX_use_certificate_chain_file(tls_context, arguments[4]) != 1 || SSL_CTX_use_PrivateKey_file(tls_context, arguments[5], SSL_FILETYPE_PEM) != 1) { fprintf(stderr, "sink: bad certificate\n"); return 1; }
    }
    int poll = epoll_create1(0);
    for (int i = 0; i < PORTS; i++) listen_on(poll, i, atoi(arguments[1 + i]));
    struct epoll_event ready[256];
    for (;;) {
        int many = epoll_wait(poll, ready, 256, -1);
        for (int k = 0; k < many; k++) {
            int fd = ready[k].data.fd, port = -1;
            for (int i = 0; i < PORTS; i++) if (listeners[i] == fd) port = i;
            if (port >= 0) accept_from(poll, port);
            else if (connections[fd]) read_from(fd);
        }
    }
}
