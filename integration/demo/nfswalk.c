/*
 * nfswalk: copies a tree to an NFS server, or reads one back, through libnfs.
 *
 * An independent client for the demo and the tests: it shares no code with the server. Several threads
 * work, each with a connection of its own.
 *
 *   nfswalk put  URL LOCAL REMOTE THREADS   copies LOCAL to REMOTE; says on stdout what was acknowledged
 *   nfswalk read URL REMOTE THREADS         says on stdout what lies below REMOTE
 *   nfswalk byte URL PATH                   reads the first byte of a file, and nothing else
 *
 * URL is a libnfs URL: nfs://host/export?nfsport=P&mountport=P
 *
 * put prints, once everything about an entry has been acknowledged as durable (for a file: after COMMIT
 * and the calls that set owner, mode and times):   nanoseconds <tab> path
 * byte prints that byte. read prints: path <tab> type <tab> mode <tab> uid <tab> gid <tab> mtime in microseconds <tab> size
 * <tab> links <tab> SHA-256 of the content, or the target of a link, or a dash
 *
 * Bytes of paths and targets other than printable ASCII, and '%', are written as %XX. Exit status: 0
 * all went well; 1 at least one call failed (said on stderr); 2 wrong usage.
 */
#define _GNU_SOURCE
#define _FILE_OFFSET_BITS 64
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <nfsc/libnfs.h>
#include <openssl/evp.h>

#define TRANSFER (1u << 20)

struct entry {
    char *path; /* below the root of the walk; "" is the root itself */
    struct stat st;
    long first; /* the entry that has the same inode, or -1 */
};

static struct entry *entries;
static size_t entry_count, entry_room;
static atomic_size_t next_entry;
static atomic_int failures;
static pthread_mutex_t output = PTHREAD_MUTEX_INITIALIZER;
static const char *url_text, *local_root, *remote_root;

static void fail(const char *what, const char *path, const char *why) {
    fprintf(stderr, "nfswalk: %s %s: %s\n", what, path, why);
    atomic_fetch_add(&failures, 1);
}

static void print_escaped(const char *text) {
    for (const unsigned char *at = (const unsigned char *)text; *at; at++) {
        if (*at > 0x20 && *at < 0x7f && *at != '%') putchar(*at);
        else printf("%%%02X", *at);
    }
}

static struct entry *add_entry(const char *path, const struct stat *st) {
    if (entry_count == entry_room) {
        entry_room = entry_room ? 2 * entry_room : 1024;
        entries = realloc(entries, entry_room * sizeof *entries);
        if (!entries) { perror("nfswalk"); exit(1); }
    }
    struct entry *entry = &entries[entry_count++];
    entry->path = strdup(path);
    entry->st = *st;
    entry->first = -1;
    return entry;
}

static struct nfs_context *connect_nfs(void) {
    struct nfs_context *nfs = nfs_init_context();
    if (!nfs) { perror("nfswalk"); exit(1); }
    struct nfs_url *url = nfs_parse_url_dir(nfs, url_text);
    if (!url) { fprintf(stderr, "nfswalk: bad url: %s\n", nfs_get_error(nfs)); exit(2); }
    nfs_set_uid(nfs, 0);
    nfs_set_gid(nfs, 0);
    if (nfs_mount(nfs, url->server, url->path) < 0) {
        fprintf(stderr, "nfswalk: failed to mount %s: %s\n", url_text, nfs_get_error(nfs));
        exit(1);
    }
    nfs_umask(nfs, 0);
    nfs_destroy_url(url);
    return nfs;
}

static char *joined(const char *root, const char *path) {
    char *whole;
    if (asprintf(&whole, "%s%s%s", root, *path ? "/" : "", path) < 0) { perror("nfswalk"); exit(1); }
    return whole;
}

static void acknowledged(const struct entry *entry) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    pthread_mutex_lock(&output);
    printf("%lld%09ld\t", (long long)now.tv_sec, now.tv_nsec);
    print_escaped(entry->path);
    putchar('\n');
    fflush(stdout);
    pthread_mutex_unlock(&output);
}

/* Owner before mode: changing the owner takes set-id bits away. */
static int set_attributes(struct nfs_context *nfs, const char *path, const struct stat *st) {
    struct timeval times[2] = {
        {st->st_atim.tv_sec, st->st_atim.tv_nsec / 1000},
        {st->st_mtim.tv_sec, st->st_mtim.tv_nsec / 1000},
    };
    if (nfs_lchown(nfs, path, (int)st->st_uid, (int)st->st_gid) < 0) return -1;
    if (!S_ISLNK(st->st_mode) && nfs_chmod(nfs, path, (int)(st->st_mode & 07777)) < 0) return -1;
    return nfs_lutimes(nfs, path, times);
}

static int put_data(struct nfs_context *nfs, struct nfsfh *file, int local, char *buffer) {
    uint64_t offset = 0;
    for (;;) {
        ssize_t got = pread(local, buffer, TRANSFER, (off_t)offset);
        if (got < 0) return -1;
        if (got == 0) return nfs_fsync(nfs, file);
        for (ssize_t done = 0; done < got;) {
            int wrote = nfs_pwrite(nfs, file, offset, (uint64_t)(got - done), buffer + done);
            if (wrote <= 0) return -1;
            done += wrote;
            offset += (uint64_t)wrote;
        }
    }
}

static int put_file(struct nfs_context *nfs, const char *from, const char *to, char *buffer) {
    int local = open(from, O_RDONLY | O_NOFOLLOW);
    if (local < 0) return -1;
    struct nfsfh *file = NULL;
    int result = nfs_creat(nfs, to, 0600, &file);
    if (result == 0) {
        result = put_data(nfs, file, local, buffer);
        if (nfs_close(nfs, file) < 0) result = -1;
    }
    close(local);
    return result;
}

static int put_symlink(struct nfs_context *nfs, const char *from, const char *to) {
    char target[4097];
    ssize_t length = readlink(from, target, sizeof target - 1);
    if (length < 0) return -1;
    target[length] = 0;
    return nfs_symlink(nfs, target, to);
}

static void put_entry(struct nfs_context *nfs, struct entry *entry, char *buffer) {
    char *from = joined(local_root, entry->path), *to = joined(remote_root, entry->path);
    int result;
    errno = 0;
    if (S_ISREG(entry->st.st_mode)) result = put_file(nfs, from, to, buffer);
    else if (S_ISLNK(entry->st.st_mode)) result = put_symlink(nfs, from, to);
    else result = nfs_mknod(nfs, to, (int)entry->st.st_mode, (int)entry->st.st_rdev);
    if (result == 0) result = set_attributes(nfs, to, &entry->st);
    if (result < 0) fail("failed to put", entry->path, nfs_get_error(nfs));
    else acknowledged(entry);
    free(from);
    free(to);
}

static void *put_thread(void *unused) {
    (void)unused;
    struct nfs_context *nfs = connect_nfs();
    char *buffer = malloc(TRANSFER);
    size_t at;
    while ((at = atomic_fetch_add(&next_entry, 1)) < entry_count) {
        struct entry *entry = &entries[at];
        if (!S_ISDIR(entry->st.st_mode) && entry->first < 0) put_entry(nfs, entry, buffer);
    }
    free(buffer);
    nfs_destroy_context(nfs);
    return NULL;
}

static int visit(const char *path, const struct stat *st, int type, struct FTW *where) {
    (void)where;
    if (type == FTW_NS || type == FTW_DNR) {
        fail("failed to read", path, strerror(errno));
        return 0;
    }
    const char *below = path + strlen(local_root);
    add_entry(*below == '/' ? below + 1 : below, st);
    return 0;
}

static int by_inode(const void *one, const void *other) {
    const struct entry *a = &entries[*(const size_t *)one], *b = &entries[*(const size_t *)other];
    if (a->st.st_dev != b->st.st_dev) return a->st.st_dev < b->st.st_dev ? -1 : 1;
    if (a->st.st_ino != b->st.st_ino) return a->st.st_ino < b->st.st_ino ? -1 : 1;
    return *(const size_t *)one < *(const size_t *)other ? -1 : 1;
}

/* Names of one file after its first become links. */
static void find_links(void) {
    size_t *order = malloc((entry_count + 1) * sizeof *order), many = 0;
    for (size_t at = 0; at < entry_count; at++)
        if (!S_ISDIR(entries[at].st.st_mode) && entries[at].st.st_nlink > 1) order[many++] = at;
    qsort(order, many, sizeof *order, by_inode);
    for (size_t at = 1; at < many; at++) {
        struct entry *before = &entries[order[at - 1]], *entry = &entries[order[at]];
        if (before->st.st_dev == entry->st.st_dev && before->st.st_ino == entry->st.st_ino)
            entry->first = before->first >= 0 ? before->first : (long)order[at - 1];
    }
    free(order);
}

static void run_threads(void *(*body)(void *), int threads) {
    pthread_t handles[64];
    for (int at = 0; at < threads; at++) pthread_create(&handles[at], NULL, body, NULL);
    for (int at = 0; at < threads; at++) pthread_join(handles[at], NULL);
}

static void put_tree(int threads) {
    nftw(local_root, visit, 64, FTW_PHYS);
    find_links();
    struct nfs_context *nfs = connect_nfs();
    for (size_t at = 0; at < entry_count; at++) { /* parents come before children */
        if (!S_ISDIR(entries[at].st.st_mode)) continue;
        char *to = joined(remote_root, entries[at].path);
        if (nfs_mkdir(nfs, to) < 0) fail("failed to make", to, nfs_get_error(nfs));
        free(to);
    }
    run_threads(put_thread, threads);
    for (size_t at = 0; at < entry_count; at++) {
        struct entry *entry = &entries[at];
        if (entry->first < 0) continue;
        char *old = joined(remote_root, entries[entry->first].path), *new = joined(remote_root, entry->path);
        if (nfs_link(nfs, old, new) < 0) fail("failed to link", new, nfs_get_error(nfs));
        else acknowledged(entry);
        free(old);
        free(new);
    }
    for (size_t at = entry_count; at-- > 0;) { /* children before parents, whose times they change */
        if (!S_ISDIR(entries[at].st.st_mode)) continue;
        char *to = joined(remote_root, entries[at].path);
        if (set_attributes(nfs, to, &entries[at].st) < 0) fail("failed to set", to, nfs_get_error(nfs));
        else acknowledged(&entries[at]);
        free(to);
    }
    nfs_destroy_context(nfs);
}

/* Collects everything below a directory; attributes come with the listing. */
static void list_tree(struct nfs_context *nfs, const char *below) {
    char *path = joined(remote_root, below);
    struct nfsdir *directory;
    if (nfs_opendir(nfs, path, &directory) < 0) {
        fail("failed to list", path, nfs_get_error(nfs));
        free(path);
        return;
    }
    size_t first = entry_count;
    struct nfsdirent *found;
    while ((found = nfs_readdir(nfs, directory))) {
        if (!strcmp(found->name, ".") || !strcmp(found->name, "..")) continue;
        struct stat st = {0};
        st.st_mode = found->mode;
        st.st_uid = found->uid;
        st.st_gid = found->gid;
        st.st_size = (off_t)found->size;
        st.st_nlink = found->nlink;
        st.st_mtim.tv_sec = found->mtime.tv_sec;
        st.st_mtim.tv_nsec = found->mtime_nsec;
        char *name = *below ? joined(below, found->name) : strdup(found->name);
        add_entry(name, &st);
        free(name);
    }
    nfs_closedir(nfs, directory);
    free(path);
    size_t end = entry_count;
    for (size_t at = first; at < end; at++)
        if (S_ISDIR(entries[at].st.st_mode)) {
            char *name = strdup(entries[at].path); /* the array moves while it grows */
            list_tree(nfs, name);
            free(name);
        }
}

static int digest_file(struct nfs_context *nfs, const char *path, char *buffer, char *hex) {
    struct nfsfh *file;
    if (nfs_open(nfs, path, O_RDONLY, &file) < 0) return -1;
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    EVP_DigestInit_ex(context, EVP_sha256(), NULL);
    uint64_t offset = 0;
    int got;
    while ((got = nfs_pread(nfs, file, offset, TRANSFER, buffer)) > 0) {
        EVP_DigestUpdate(context, buffer, (size_t)got);
        offset += (uint64_t)got;
    }
    unsigned char digest[32];
    EVP_DigestFinal_ex(context, digest, NULL);
    EVP_MD_CTX_free(context);
    nfs_close(nfs, file);
    for (int at = 0; at < 32; at++) sprintf(hex + 2 * at, "%02x", digest[at]);
    return got;
}

static char type_of(mode_t mode) {
    if (S_ISREG(mode)) return 'f';
    if (S_ISDIR(mode)) return 'd';
    if (S_ISLNK(mode)) return 'l';
    if (S_ISBLK(mode)) return 'b';
    if (S_ISCHR(mode)) return 'c';
    return S_ISFIFO(mode) ? 'p' : 's';
}

static void read_entry(struct nfs_context *nfs, const struct entry *entry, char *buffer) {
    char content[4097] = "-";
    char *path = joined(remote_root, entry->path);
    int result = 0;
    if (S_ISREG(entry->st.st_mode)) result = digest_file(nfs, path, buffer, content);
    else if (S_ISLNK(entry->st.st_mode)) result = nfs_readlink(nfs, path, content, sizeof content);
    if (result < 0) fail("failed to read", path, nfs_get_error(nfs));
    else {
        pthread_mutex_lock(&output);
        print_escaped(entry->path);
        printf("\t%c\t%o\t%u\t%u\t%lld\t%lld\t%u\t", type_of(entry->st.st_mode), entry->st.st_mode & 07777,
               entry->st.st_uid, entry->st.st_gid,
               (long long)entry->st.st_mtim.tv_sec * 1000000 + entry->st.st_mtim.tv_nsec / 1000,
               S_ISREG(entry->st.st_mode) ? (long long)entry->st.st_size : 0LL, (unsigned)entry->st.st_nlink);
        print_escaped(content);
        putchar('\n');
        pthread_mutex_unlock(&output);
    }
    free(path);
}

static void *read_thread(void *unused) {
    (void)unused;
    struct nfs_context *nfs = connect_nfs();
    char *buffer = malloc(TRANSFER);
    size_t at;
    while ((at = atomic_fetch_add(&next_entry, 1)) < entry_count) read_entry(nfs, &entries[at], buffer);
    free(buffer);
    nfs_destroy_context(nfs);
    return NULL;
}

static void first_byte(const char *path) {
    struct nfs_context *nfs = connect_nfs();
    struct nfsfh *file;
    char byte;
    if (nfs_open(nfs, path, O_RDONLY, &file) < 0) {
        fail("failed to open", path, nfs_get_error(nfs));
        return;
    }
    if (nfs_pread(nfs, file, 0, 1, &byte) == 1) putchar(byte);
    else fail("failed to read", path, nfs_get_error(nfs));
    nfs_close(nfs, file);
    nfs_destroy_context(nfs);
}

static int thread_count(const char *text) {
    int threads = atoi(text);
    return threads < 1 ? 1 : threads > 64 ? 64 : threads;
}

int main(int argc, char **argv) {
    if (argc == 6 && !strcmp(argv[1], "put")) {
        url_text = argv[2];
        local_root = argv[3];
        remote_root = argv[4];
        put_tree(thread_count(argv[5]));
    } else if (argc == 5 && !strcmp(argv[1], "read")) {
        url_text = argv[2];
        remote_root = argv[3];
        struct nfs_context *nfs = connect_nfs();
        list_tree(nfs, "");
        nfs_destroy_context(nfs);
        run_threads(read_thread, thread_count(argv[4]));
    } else if (argc == 4 && !strcmp(argv[1], "byte")) {
        url_text = argv[2];
        first_byte(argv[3]);
    } else {
        fprintf(stderr, "usage: nfswalk put URL LOCAL REMOTE THREADS | nfswalk read URL REMOTE THREADS"
                        " | nfswalk byte URL PATH\n");
        return 2;
    }
    return atomic_load(&failures) ? 1 : 0;
}
