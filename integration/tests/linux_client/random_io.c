/*
 * random_io: changes a file at random in every way that a program has, and holds it against a model.
 *
 *   random_io FILE MODEL SEED OPERATIONS
 *
 * Reads, writes, appends, lengths, mapped reads and writes with msync, reads and writes past the page cache (O_DIRECT),
 * writes that are synchronous, fsync, a dropped cache, close and reopen: one after another, so each must see what all
 * before it did. The model is the same file in memory; at the end it is written to MODEL, for somebody else
 * to compare. The same seed gives the same operations.
 *
 * Says on stdout "operations N" now and then. Exit status: 0 the file was always as the model; 1 it was not, or a call
 * failed, which is said with the operations before it; 2 wrong usage.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_BYTES_MAX (1u << 20)
#define PIECE_BYTES_MAX (96u << 10)
#define PAGE 4096u
/* What lies in the page cache is read and written past it in pieces of whole sectors. */
#define SECTOR 512u
#define REPORT_EVERY 20
#define REMEMBERED 40

static unsigned char model[FILE_BYTES_MAX];
static size_t size;
static const char *path;
static int file, direct, synchronous;
static unsigned char *buffer;
static uint64_t state;
static unsigned long operation;
static char remembered[REMEMBERED][96];

static uint64_t next(void) {
    state += 0x9e3779b97f4a7c15u;
    uint64_t mixed = (state ^ (state >> 30)) * 0xbf58476d1ce4e5b9u;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebu;
    return mixed ^ (mixed >> 31);
}

static size_t below(size_t end) { return (size_t)(next() % end); }

__attribute__((format(printf, 1, 2))) static void fail(const char *format, ...) {
    va_list arguments;
    printf("random_io: operation %lu: ", operation);
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    printf("\nthe operations before it:\n");
    for (unsigned long back = REMEMBERED; back-- > 0;)
        if (operation >= back) printf("  %lu %s\n", operation - back, remembered[(operation - back) % REMEMBERED]);
    exit(1);
}

__attribute__((format(printf, 1, 2))) static void remember(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(remembered[operation % REMEMBERED], sizeof remembered[0], format, arguments);
    va_end(arguments);
}

static void expect(int good, const char *call) {
    if (!good) fail("%s: %s", call, strerror(errno));
}

static void compare(const unsigned char *found, size_t offset, size_t length, const char *how) {
    for (size_t at = 0; at < length; at++)
        if (found[at] != model[offset + at])
            fail("%s at %zu of %zu bytes: %02x, and not %02x", how, offset + at, size, found[at], model[offset + at]);
}

/* New bytes that tell which operation made them, so that stale data shows. */
static void fill(size_t length) {
    for (size_t at = 0; at < length; at++) buffer[at] = (unsigned char)(operation + at / 7 * 31);
    for (size_t at = 0; at + 8 <= length; at += 256) memcpy(buffer + at, &operation, sizeof operation);
}

/* The model after a write: what lies between the old end and the write is zeros already. */
static void note(size_t offset, size_t length) {
    memcpy(model + offset, buffer, length);
    if (offset + length > size) size = offset + length;
}

static void open_all(int flags) {
    expect((file = open(path, O_RDWR | flags, 0644)) >= 0, "open");
    expect((direct = open(path, O_RDWR | O_DIRECT)) >= 0, "open with O_DIRECT");
    expect((synchronous = open(path, O_RDWR | O_SYNC)) >= 0, "open with O_SYNC");
}

static void close_all(void) {
    /* A close tells what became of the writes. */
    expect(close(file) == 0 && close(direct) == 0 && close(synchronous) == 0, "close");
}

static void check_length(void) {
    struct stat found;
    expect(fstat(file, &found) == 0, "fstat");
    if ((size_t)found.st_size != size) fail("the length is %lld, and not %zu", (long long)found.st_size, size);
}

static void read_from(int from, size_t unit, const char *how) {
    size_t offset = below(size + PAGE) / unit * unit, length = (1 + below(PIECE_BYTES_MAX)) / unit * unit;
    if (length == 0) length = unit;
    remember("%s %zu +%zu", how, offset, length);
    size_t there = offset >= size ? 0 : length < size - offset ? length : size - offset;
    size_t done = 0;
    while (done < length) {
        ssize_t got = pread(from, buffer + done, length - done, (off_t)(offset + done));
        expect(got >= 0, how);
        if (got == 0) break;
        done += (size_t)got;
        if (done % unit != 0) break;
    }
    if (done != there) fail("%s at %zu gave %zu bytes of %zu", how, offset, done, there);
    compare(buffer, offset, done, how);
}

static void write_to(int to, size_t unit, const char *how) {
    size_t offset = below(FILE_BYTES_MAX - PIECE_BYTES_MAX), length = 1 + below(PIECE_BYTES_MAX);
    /* Mostly within the file, else it would always be as long as it may be. */
    if (size > 0 && below(4) != 0) offset = below(size) % (FILE_BYTES_MAX - PIECE_BYTES_MAX);
    offset = offset / unit * unit;
    length = length < unit ? unit : length / unit * unit;
    remember("%s %zu +%zu", how, offset, length);
    fill(length);
    for (size_t done = 0; done < length;) {
        ssize_t put = pwrite(to, buffer + done, length - done, (off_t)(offset + done));
        expect(put > 0, how);
        done += (size_t)put;
    }
    note(offset, length);
}

static void append(void) {
    size_t length = 1 + below(PAGE);
    if (size + length > FILE_BYTES_MAX) return;
    remember("append +%zu", length);
    fill(length);
    int end = open(path, O_WRONLY | O_APPEND);
    expect(end >= 0, "open to append");
    expect(write(end, buffer, length) == (ssize_t)length, "append");
    expect(close(end) == 0, "close after append");
    note(size, length);
}

static void set_length(void) {
    size_t length = below(4) == 0 ? below(FILE_BYTES_MAX) : size / 2 + below(size / 2 + PAGE);
    if (length > FILE_BYTES_MAX) length = FILE_BYTES_MAX;
    remember("length %zu to %zu", size, length);
    expect(below(2) ? ftruncate(file, (off_t)length) == 0 : truncate(path, (off_t)length) == 0, "truncate");
    if (length < size) memset(model + length, 0, size - length);
    size = length;
}

/* A range of the file that begins with a page; returns 0 where the file is empty. */
static size_t range_to_map(size_t *offset) {
    if (size == 0) return 0;
    *offset = below(size) / PAGE * PAGE;
    size_t length = 1 + below(PIECE_BYTES_MAX);
    return length < size - *offset ? length : size - *offset;
}

static void read_mapped(void) {
    size_t offset, length = range_to_map(&offset);
    if (length == 0) return;
    remember("mapped read %zu +%zu", offset, length);
    unsigned char *map = mmap(NULL, length, PROT_READ, MAP_SHARED, file, (off_t)offset);
    expect(map != MAP_FAILED, "mmap to read");
    compare(map, offset, length, "mapped read");
    /* The last page of a file goes on with zeros. */
    size_t end = offset + length;
    for (size_t at = end; end == size && at % PAGE != 0; at++)
        if (map[at - offset] != 0) fail("mapped beyond the end, at %zu: %02x", at, map[at - offset]);
    expect(munmap(map, length) == 0, "munmap");
}

static void write_mapped(void) {
    size_t offset, length = range_to_map(&offset);
    if (length == 0) return;
    size_t from = below(length);
    remember("mapped write %zu +%zu", offset + from, length - from);
    fill(length - from);
    unsigned char *map = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, file, (off_t)offset);
    expect(map != MAP_FAILED, "mmap to write");
    memcpy(map + from, buffer, length - from);
    expect(msync(map, length, MS_SYNC) == 0, "msync");
    expect(munmap(map, length) == 0, "munmap");
    note(offset + from, length - from);
}

static void synchronise(void) {
    int data_only = below(2) != 0;
    remember(data_only ? "fdatasync" : "fsync");
    expect((data_only ? fdatasync(file) : fsync(file)) == 0, "fsync");
}

/* So that the next reads come from the server. */
static void forget(void) {
    remember("forget");
    expect(fsync(file) == 0, "fsync");
    errno = posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
    expect(errno == 0, "posix_fadvise");
}

static void reopen(void) {
    remember("reopen");
    close_all();
    open_all(0);
}

static void operate(void) {
    switch (below(20)) {
    case 0 ... 3: read_from(file, 1, "read"); break;
    case 4 ... 7: write_to(file, 1, "write"); break;
    case 8: read_from(direct, SECTOR, "direct read"); break;
    case 9 ... 10: write_to(direct, SECTOR, "direct write"); break;
    case 11: write_to(synchronous, 1, "synchronous write"); break;
    case 12: append(); break;
    case 13: set_length(); break;
    case 14: read_mapped(); break;
    case 15 ... 16: write_mapped(); break;
    case 17: synchronise(); break;
    case 18: forget(); break;
    default: reopen(); break;
    }
    check_length();
}

static void check_all(void) {
    forget();
    size_t done = 0;
    for (ssize_t got; (got = pread(file, buffer, PIECE_BYTES_MAX, (off_t)done)) != 0; done += (size_t)got) {
        expect(got > 0, "read of all");
        if (done + (size_t)got > size) fail("the file goes on beyond %zu bytes", size);
        compare(buffer, done, (size_t)got, "read of all");
    }
    if (done != size) fail("the file ends at %zu, and not at %zu", done, size);
}

int main(int count, char **arguments) {
    if (count != 5) {
        fprintf(stderr, "random_io FILE MODEL SEED OPERATIONS\n");
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    path = arguments[1];
    state = strtoull(arguments[3], NULL, 10);
    unsigned long operations = strtoul(arguments[4], NULL, 10);
    buffer = aligned_alloc(PAGE, PIECE_BYTES_MAX + PAGE);
    if (buffer == NULL) return 2;
    open_all(O_CREAT | O_TRUNC);
    for (operation = 1; operation <= operations; operation++) {
        operate();
        if (operation % REPORT_EVERY == 0) printf("operations %lu\n", operation);
    }
    operation--;
    check_all();
    close_all();
    FILE *out = fopen(arguments[2], "w");
    if (out == NULL || fwrite(model, 1, size, out) != size || fclose(out) != 0) fail("%s: %s", arguments[2], strerror(errno));
    printf("all %lu operations were right; %zu bytes\n", operations, size);
    return 0;
}
