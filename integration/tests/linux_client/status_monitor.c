/* A stand-in for rpcbind and rpc.statd, without which Linux gives no lock call to the network: a client that has both
 * is what a mount without `nolock` needs.
 *
 * Serves the port mapper (program 100000, version 2) and the status monitor (100024, version 1) over TCP and UDP at
 * 127.0.0.1:111. Whatever wants to be registered or monitored is; nobody is ever told that a host came back.
 */
#include <arpa/inet.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { PORT = 111, PORTMAP = 100000, STATUS = 100024, GETPORT = 3, MONITOR = 2, WORDS = 256, HEADER = 6 };

/* Writes the answer to a call; its length in words, or 0 when there is none. */
static size_t answer(const uint32_t *call, size_t words, uint32_t *reply)
{
	if (words < 10 || ntohl(call[1]) != 0)
		return 0;
	size_t arguments = 8 + (ntohl(call[7]) + 3) / 4;
	if (arguments + 2 > words)
		return 0;
	arguments += 2 + (ntohl(call[arguments + 1]) + 3) / 4;
	uint32_t program = ntohl(call[3]), version = ntohl(call[4]), procedure = ntohl(call[5]);
	uint32_t only = program == PORTMAP ? 2 : 1;
	uint32_t status = program != PORTMAP && program != STATUS ? 1 : version != only ? 2 : 0;
	size_t length = 0;

	reply[length++] = call[0];
	reply[length++] = htonl(1);
	for (int zero = 0; zero < 3; zero++)
		reply[length++] = 0;
	reply[length++] = htonl(status);
	if (status == 2) {
		reply[length++] = htonl(only);
		reply[length++] = htonl(only);
	}
	if (status != 0 || procedure == 0)
		return length;
	if (program == PORTMAP && procedure == GETPORT) {
		int ours = arguments < words && ntohl(call[arguments]) == STATUS;
		reply[length++] = htonl(ours ? PORT : 0);
	} else {
		/* "Yes" of the port mapper; success and state of the status monitor. */
		reply[length++] = program == PORTMAP ? htonl(1) : 0;
		if (program == STATUS && procedure == MONITOR)
			reply[length++] = htonl(1);
	}
	return length;
}

static int take(int from, void *to, size_t bytes)
{
	for (size_t got = 0; got < bytes;) {
		ssize_t now = read(from, (char *)to + got, bytes - got);
		if (now <= 0)
			return 0;
		got += now;
	}
	return 1;
}

static void serve(int stream)
{
	uint32_t call[WORDS], reply[1 + HEADER + 2];
	for (uint32_t mark; take(stream, &mark, sizeof mark);) {
		uint32_t bytes = ntohl(mark) & 0x7fffffff;
		if (bytes > sizeof call || !take(stream, call, bytes))
			return;
		size_t words = answer(call, bytes / 4, reply + 1);
		reply[0] = htonl(0x80000000 | words * 4);
		if (words > 0 && write(stream, reply, 4 + words * 4) < 0)
			return;
	}
}

static int listening(int kind)
{
	struct sockaddr_in here = { .sin_family = AF_INET, .sin_port = htons(PORT) };
	here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	int bound = socket(AF_INET, kind, 0);
	if (bound < 0 || bind(bound, (struct sockaddr *)&here, sizeof here) != 0 ||
	    (kind == SOCK_STREAM && listen(bound, 8) != 0)) {
		perror("status_monitor");
		exit(1);
	}
	return bound;
}

int main(void)
{
	struct pollfd doors[] = { { listening(SOCK_STREAM), POLLIN, 0 }, { listening(SOCK_DGRAM), POLLIN, 0 } };
	if (fork() != 0)
		return 0;
	while (poll(doors, 2, -1) > 0) {
		if (doors[0].revents) {
			int stream = accept(doors[0].fd, NULL, NULL);
			if (fork() == 0) {
				serve(stream);
				_exit(0);
			}
			close(stream);
		}
		if (doors[1].revents) {
			uint32_t call[WORDS], reply[HEADER + 2];
			struct sockaddr_in from;
			socklen_t length = sizeof from;
			ssize_t bytes = recvfrom(doors[1].fd, call, sizeof call, 0, (struct sockaddr *)&from, &length);
			size_t words = bytes > 0 ? answer(call, bytes / 4, reply) : 0;
			if (words > 0)
				sendto(doors[1].fd, reply, words * 4, 0, (struct sockaddr *)&from, length);
		}
	}
	return 1;
}
