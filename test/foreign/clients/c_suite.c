/* Conformance of a ZooKeeper server as the C client sees it.
 *
 *     cc -DTHREADED -o c_suite c_suite.c -lzookeeper_mt -lpthread
 *     c_suite HOST:PORT[,HOST:PORT] [CHECK...]
 *
 * Prints "ok NAME" or "FAIL NAME: why" per check, then "N passed, N failed"; exits
 * 0 only if none failed. With names, only those checks run. Each check works below
 * a path of its own and removes it. Checks that cut connections do so in a proxy.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <zookeeper/zookeeper.h>

enum { SESSION_MS = 8000, CHECK_SECONDS = 60, MAX = 64, PATH = 256 };

static char hosts[1024];       /* the servers */
static char proxied[1024];     /* the same through the proxy */
static char root[128];         /* the path of the running check */
static const char *running;    /* its name */
static int passed, failed;
static zhandle_t *handles[MAX]; /* what the check opened */
static int opened;
static jmp_buf giving_up;
static char why[512];

/* The check fails with a message. Only to be used on the main thread. */
#define FAIL(...) (snprintf(why, sizeof why, __VA_ARGS__), longjmp(giving_up, 1))
#define REQUIRE(x) ((x) ? (void)0 : FAIL("line %d: %s", __LINE__, #x))
#define EXPECT(want, call) expect(want, call, #call, __LINE__)
#define EVENTUALLY(x, ms)                                                        \
    do {                                                                         \
        int64_t end_ = now() + (ms);                                             \
        while (!(x)) {                                                           \
            if (now() > end_)                                                    \
                FAIL("line %d: never %s", __LINE__, #x);                         \
            usleep(5000);                                                        \
        }                                                                        \
    } while (0)

static int64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

static void expect(int want, int got, const char *call, int line)
{
    if (want != got)
        FAIL("line %d: %s gives %s, not %s", line, call, zerror(got), zerror(want));
}

/* The proxy: one thread passes bytes between pairs of sockets. */

static struct {
    int listeners[MAX], targets, pairs;
    struct sockaddr_in target[MAX];
    int ends[MAX][2];
    volatile int cut, refuse; /* wishes of the main thread */
} proxy;

static void proxy_close(int i)
{
    close(proxy.ends[i][0]);
    close(proxy.ends[i][1]);
    proxy.pairs--;
    memmove(proxy.ends[i], proxy.ends[proxy.pairs], sizeof proxy.ends[i]);
}

static int pass_on(int from, int to)
{
    char data[65536];
    ssize_t n = read(from, data, sizeof data), sent = 0;
    while (sent < n) {
        ssize_t m = write(to, data + sent, n - sent);
        if (m <= 0)
            return 0;
        sent += m;
    }
    return n > 0;
}

static void *proxy_run(void *unused)
{
    (void)unused;
    for (;;) {
        struct pollfd fds[3 * MAX];
        int n = 0, known = proxy.pairs;
        for (int i = 0; i < known; i++)
            for (int e = 0; e < 2; e++)
                fds[n++] = (struct pollfd){proxy.ends[i][e], POLLIN, 0};
        for (int i = 0; i < proxy.targets; i++)
            fds[n++] = (struct pollfd){proxy.listeners[i], POLLIN, 0};
        poll(fds, n, 5);
        for (int i = known - 1; i >= 0; i--) {
            int ok = !proxy.cut && !proxy.refuse;
            for (int e = 0; e < 2 && ok; e++)
                if (fds[2 * i + e].revents)
                    ok = pass_on(proxy.ends[i][e], proxy.ends[i][!e]);
            if (!ok)
                proxy_close(i);
        }
        proxy.cut = 0;
        for (int i = 0; i < proxy.targets; i++) {
            if (!fds[2 * known + i].revents)
                continue;
            int inner = accept(proxy.listeners[i], NULL, NULL), on = 1;
            int outer = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
            if (proxy.refuse || proxy.pairs == MAX ||
                connect(outer, (struct sockaddr *)&proxy.target[i], sizeof proxy.target[i])) {
                close(inner);
                close(outer);
                continue;
            }
            setsockopt(inner, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
            setsockopt(outer, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
            proxy.ends[proxy.pairs][0] = inner;
            proxy.ends[proxy.pairs++][1] = outer;
        }
    }
    return NULL;
}

static void proxy_start(void)
{
    char list[1024], *save = NULL;
    strcpy(list, hosts);
    for (char *one = strtok_r(list, ",", &save); one; one = strtok_r(NULL, ",", &save)) {
        char *colon = strrchr(one, ':');
        struct addrinfo *found, hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM};
        int i = proxy.targets++;
        *colon = 0;
        if (getaddrinfo(one, colon + 1, &hints, &found)) {
            fprintf(stderr, "no address for %s\n", one);
            exit(2);
        }
        memcpy(&proxy.target[i], found->ai_addr, sizeof proxy.target[i]);
        freeaddrinfo(found);
        struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t size = sizeof here;
        proxy.listeners[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (bind(proxy.listeners[i], (struct sockaddr *)&here, size) || listen(proxy.listeners[i], 16) ||
            getsockname(proxy.listeners[i], (struct sockaddr *)&here, &size)) {
            perror("proxy");
            exit(2);
        }
        sprintf(proxied + strlen(proxied), "%s127.0.0.1:%d", i ? "," : "", ntohs(here.sin_port));
    }
    pthread_t thread;
    pthread_create(&thread, NULL, proxy_run, NULL);
}

static void cut(void)
{
    proxy.cut = 1;
    while (proxy.cut)
        usleep(1000);
}

/* Clients and what their watchers saw. */

typedef struct {
    pthread_mutex_t lock;
    int count, session_state;
    struct {
        int type;
        char path[PATH];
    } event[MAX];
} seen_t;

static seen_t seen_by[MAX];

static void on_event(zhandle_t *zh, int type, int state, const char *path, void *context)
{
    seen_t *seen = context;
    (void)zh;
    pthread_mutex_lock(&seen->lock);
    if (type == ZOO_SESSION_EVENT)
        seen->session_state = state;
    else if (seen->count < MAX) {
        seen->event[seen->count].type = type;
        snprintf(seen->event[seen->count++].path, PATH, "%s", path);
    }
    pthread_mutex_unlock(&seen->lock);
}

/* How often an event was seen. */
static int saw(seen_t *seen, int type, const char *path)
{
    int n = 0;
    pthread_mutex_lock(&seen->lock);
    for (int i = 0; i < seen->count; i++)
        n += seen->event[i].type == type && !strcmp(seen->event[i].path, path);
    pthread_mutex_unlock(&seen->lock);
    return n;
}

/* The recorder of a client's session events, and of what it watches. */
static seen_t *seen_of(zhandle_t *zh)
{
    return (seen_t *)zoo_get_context(zh);
}

static zhandle_t *open_with(const char *where, int timeout, const clientid_t *id)
{
    seen_t *seen = &seen_by[opened];
    memset(seen, 0, sizeof *seen);
    pthread_mutex_init(&seen->lock, NULL);
    zhandle_t *zh = zookeeper_init(where, on_event, timeout, id, seen, ZOO_NO_LOG_CLIENTENV);
    REQUIRE(zh);
    handles[opened++] = zh;
    return zh;
}

static void sync_done(int rc, const char *value, const void *data)
{
    (void)value;
    *(volatile int *)data = rc;
}

/* Lets this client see what others wrote before. */
static void catch_up(zhandle_t *zh)
{
    static volatile int rc;
    rc = 1;
    EXPECT(ZOK, zoo_async(zh, "/", sync_done, (const void *)&rc));
    EVENTUALLY(rc != 1, 5000);
    EXPECT(ZOK, rc);
}

static zhandle_t *open_at(const char *where)
{
    zhandle_t *zh = open_with(where, SESSION_MS, NULL);
    EVENTUALLY(zoo_state(zh) == ZOO_CONNECTED_STATE, 10000);
    return zh;
}

static zhandle_t *client(void)
{
    zhandle_t *zh = open_at(hosts);
    catch_up(zh);
    return zh;
}

static void shut(zhandle_t *zh)
{
    for (int i = 0; i < opened; i++)
        if (handles[i] == zh) {
            handles[i] = NULL;
            zookeeper_close(zh);
        }
}

/* A path below the check's own; good for the next 16 calls. */
static char *at(const char *name)
{
    static char paths[16][PATH];
    static int next;
    char *path = paths[next++ % 16];
    snprintf(path, PATH, "%s/%.100s", root, name);
    return path;
}

static int make(zhandle_t *zh, const char *path, const char *data, int mode)
{
    return zoo_create(zh, path, data, strlen(data), &ZOO_OPEN_ACL_UNSAFE, mode, NULL, 0);
}

static int put(zhandle_t *zh, const char *path, const char *data)
{
    return zoo_set(zh, path, data, strlen(data), -1);
}

/* Whether a node has the data. */
static int holds(zhandle_t *zh, const char *path, const char *data)
{
    char got[256];
    int size = sizeof got;
    return zoo_get(zh, path, 0, got, &size, NULL) == ZOK && size == (int)strlen(data) && !memcmp(got, data, size);
}

static void remove_all(zhandle_t *zh, const char *path)
{
    struct String_vector names;
    if (zoo_get_children(zh, path, 0, &names) != ZOK)
        return;
    for (int i = 0; i < names.count; i++) {
        char child[2 * PATH];
        snprintf(child, sizeof child, "%s/%s", path, names.data[i]);
        remove_all(zh, child);
    }
    deallocate_String_vector(&names);
    zoo_delete(zh, path, -1);
}

/* The checks. */

static void create_get_set_delete(void)
{
    zhandle_t *zh = client();
    struct Stat stat, changed;
    char data[64], path[PATH];
    int size = sizeof data;
    EXPECT(ZOK, zoo_create(zh, at("n"), "one", 3, &ZOO_OPEN_ACL_UNSAFE, ZOO_PERSISTENT, path, sizeof path));
    REQUIRE(!strcmp(path, at("n")));
    EXPECT(ZNODEEXISTS, make(zh, at("n"), "", ZOO_PERSISTENT));
    EXPECT(ZOK, zoo_get(zh, path, 0, data, &size, &stat));
    REQUIRE(size == 3 && !memcmp(data, "one", 3));
    REQUIRE(stat.version == 0 && stat.dataLength == 3 && stat.ephemeralOwner == 0);
    REQUIRE(stat.czxid == stat.mzxid && stat.czxid == stat.pzxid);
    EXPECT(ZOK, zoo_set2(zh, path, "two!", 4, 0, &changed));
    REQUIRE(changed.version == 1 && changed.mzxid > stat.mzxid && changed.czxid == stat.czxid);
    EXPECT(ZBADVERSION, zoo_set(zh, path, "x", 1, 0));
    EXPECT(ZBADVERSION, zoo_delete(zh, path, 0));
    EXPECT(ZOK, zoo_delete(zh, path, 1));
    EXPECT(ZNONODE, zoo_exists(zh, path, 0, &stat));
    EXPECT(ZNONODE, put(zh, path, ""));
    EXPECT(ZNONODE, zoo_delete(zh, path, -1));
    EXPECT(ZNONODE, make(zh, at("none/child"), "", ZOO_PERSISTENT));
    EXPECT(ZOK, zoo_create(zh, path, NULL, -1, &ZOO_OPEN_ACL_UNSAFE, ZOO_PERSISTENT, NULL, 0));
    size = sizeof data;
    EXPECT(ZOK, zoo_get(zh, path, 0, data, &size, NULL));
    REQUIRE(size <= 0);
}

static void large_data(void)
{
    enum { SIZE = 1000000 };
    zhandle_t *zh = client();
    char *data = malloc(SIZE), *got = malloc(SIZE);
    int size = SIZE;
    for (int i = 0; i < SIZE; i++)
        data[i] = i * 31 >> 3;
    EXPECT(ZOK, zoo_create(zh, at("big"), data, SIZE, &ZOO_OPEN_ACL_UNSAFE, ZOO_PERSISTENT, NULL, 0));
    EXPECT(ZOK, zoo_get(zh, at("big"), 0, got, &size, NULL));
    REQUIRE(size == SIZE && !memcmp(data, got, SIZE));
    free(data);
    free(got);
}

static void create_with_stat(void)
{
    zhandle_t *zh = client();
    struct Stat stat, again;
    char path[PATH];
    EXPECT(ZOK, zoo_create2(zh, at("n"), "abc", 3, &ZOO_OPEN_ACL_UNSAFE, ZOO_PERSISTENT, path, sizeof path, &stat));
    EXPECT(ZOK, zoo_exists(zh, path, 0, &again));
    REQUIRE(stat.dataLength == 3 && stat.czxid == again.czxid && stat.ctime == again.ctime);
}

static void children(void)
{
    zhandle_t *zh = client();
    struct String_vector names;
    struct Stat stat;
    EXPECT(ZOK, make(zh, at("a"), "", ZOO_PERSISTENT));
    EXPECT(ZOK, make(zh, at("b"), "", ZOO_PERSISTENT));
    EXPECT(ZOK, zoo_get_children2(zh, root, 0, &names, &stat));
    REQUIRE(names.count == 2 && stat.numChildren == 2 && stat.cversion == 2 && stat.version == 0);
    deallocate_String_vector(&names);
    EXPECT(ZNOTEMPTY, zoo_delete(zh, root, -1));
    EXPECT(ZNONODE, zoo_get_children(zh, at("none"), 0, &names));
}

static void sequential(void)
{
    zhandle_t *zh = client();
    char path[PATH];
    int mode[] = {ZOO_PERSISTENT_SEQUENTIAL, ZOO_EPHEMERAL_SEQUENTIAL, ZOO_PERSISTENT_SEQUENTIAL};
    for (int i = 0; i < 3; i++) {
        char want[32];
        EXPECT(ZOK, zoo_create(zh, at("s-"), "", 0, &ZOO_OPEN_ACL_UNSAFE, mode[i], path, sizeof path));
        snprintf(want, sizeof want, "s-%010d", i);
        REQUIRE(!strcmp(path, at(want)));
    }
    EXPECT(ZOK, zoo_delete(zh, path, -1));
    EXPECT(ZOK, zoo_create(zh, at("t-"), "", 0, &ZOO_OPEN_ACL_UNSAFE, mode[0], path, sizeof path));
    REQUIRE(!strcmp(path, at("t-0000000003")));
}

static void ephemeral(void)
{
    zhandle_t *zh = client(), *other = client();
    struct Stat stat;
    EXPECT(ZOK, make(zh, at("e"), "", ZOO_EPHEMERAL));
    EXPECT(ZNOCHILDRENFOREPHEMERALS, make(zh, at("e/child"), "", ZOO_PERSISTENT));
    catch_up(other);
    EXPECT(ZOK, zoo_exists(other, at("e"), 0, &stat));
    REQUIRE(stat.ephemeralOwner == zoo_client_id(zh)->client_id);
    shut(zh);
    EVENTUALLY(zoo_exists(other, at("e"), 0, &stat) == ZNONODE, 5000);
}

static void container(void)
{
    zhandle_t *zh = client();
    struct Stat stat;
    EXPECT(ZOK, make(zh, at("c"), "x", ZOO_CONTAINER));
    EXPECT(ZOK, make(zh, at("c/child"), "", ZOO_PERSISTENT));
    EXPECT(ZOK, zoo_exists(zh, at("c"), 0, &stat));
    REQUIRE(stat.ephemeralOwner == 0 && stat.numChildren == 1); /* its kind does not show */
}

/* Servers know this only if told so; it is fine not to. */
static void ttl(void)
{
    zhandle_t *zh = client();
    struct Stat stat;
    int rc = zoo_create2_ttl(zh, at("t"), "x", 1, &ZOO_OPEN_ACL_UNSAFE, ZOO_PERSISTENT_WITH_TTL, 60000, NULL, 0, &stat);
    if (rc == ZUNIMPLEMENTED)
        return;
    EXPECT(ZOK, rc);
    REQUIRE(stat.ephemeralOwner == 0 && stat.dataLength == 1);
}

/* Answers of asynchronous calls, in the order in which they came. */
static struct {
    pthread_mutex_t lock;
    int count, rc[1024];
    long tag[1024];
} answers = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void answer(int rc, long tag)
{
    pthread_mutex_lock(&answers.lock);
    answers.rc[answers.count] = rc;
    answers.tag[answers.count++] = tag;
    pthread_mutex_unlock(&answers.lock);
}

static void on_void(int rc, const void *tag)
{
    answer(rc, (long)tag);
}

static void on_stat(int rc, const struct Stat *stat, const void *tag)
{
    (void)stat;
    answer(rc, (long)tag);
}

static void on_string(int rc, const char *value, const void *tag)
{
    (void)value;
    answer(rc, (long)tag);
}

static void on_data(int rc, const char *value, int size, const struct Stat *stat, const void *tag)
{
    (void)stat;
    /* The data is the number of the write just before. */
    answer(rc ? rc : size == sizeof(long) && !memcmp(value, &tag, size) ? ZOK : ZAPIERROR, (long)tag);
}

static void async_in_order(void)
{
    zhandle_t *zh = client();
    answers.count = 0;
    EXPECT(ZOK, zoo_acreate(zh, at("n"), "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, on_string, (void *)0));
    for (long i = 1; i <= 300; i++) {
        EXPECT(ZOK, zoo_aset(zh, at("n"), (char *)&i, sizeof i, i - 1, on_stat, (void *)i));
        EXPECT(ZOK, zoo_aget(zh, at("n"), 0, on_data, (void *)i));
    }
    EXPECT(ZOK, zoo_adelete(zh, at("n"), 300, on_void, (void *)301));
    EXPECT(ZOK, zoo_aexists(zh, at("n"), 0, on_stat, (void *)302));
    EVENTUALLY(answers.count == 603, 10000);
    for (int i = 0; i < 603; i++) {
        REQUIRE(answers.tag[i] == (i < 601 ? (i + 1) / 2 : i - 300));
        EXPECT(i == 602 ? ZNONODE : ZOK, answers.rc[i]);
    }
}

static void multi(void)
{
    zhandle_t *zh = client();
    zoo_op_t ops[5];
    zoo_op_result_t results[5];
    char made[PATH];
    struct Stat stat, before, after;
    EXPECT(ZOK, make(zh, at("a"), "1", ZOO_PERSISTENT));
    zoo_check_op_init(&ops[0], at("a"), 0);
    zoo_create_op_init(&ops[1], at("b"), "2", 1, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0);
    zoo_create_op_init(&ops[2], at("s-"), "", 0, &ZOO_OPEN_ACL_UNSAFE, ZOO_EPHEMERAL_SEQUENTIAL, made, sizeof made);
    zoo_set_op_init(&ops[3], at("a"), "3", 1, 0, &stat);
    zoo_delete_op_init(&ops[4], at("b"), 0);
    EXPECT(ZOK, zoo_multi(zh, 5, ops, results));
    for (int i = 0; i < 5; i++)
        EXPECT(ZOK, results[i].err);
    REQUIRE(!strcmp(made, at("s-0000000002")) && stat.version == 1);
    REQUIRE(holds(zh, at("a"), "3") && zoo_exists(zh, at("b"), 0, NULL) == ZNONODE);
    EXPECT(ZOK, zoo_exists(zh, root, 0, &before));
    zoo_create_op_init(&ops[0], at("c"), "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0);
    zoo_check_op_init(&ops[1], at("a"), 99);
    zoo_create_op_init(&ops[2], at("d"), "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0);
    EXPECT(ZBADVERSION, zoo_multi(zh, 3, ops, results));
    EXPECT(ZOK, results[0].err);
    EXPECT(ZBADVERSION, results[1].err);
    EXPECT(ZRUNTIMEINCONSISTENCY, results[2].err);
    EXPECT(ZNONODE, zoo_exists(zh, at("c"), 0, NULL));
    EXPECT(ZOK, zoo_exists(zh, root, 0, &after));
    REQUIRE(before.cversion == after.cversion);
    zoo_create_op_init(&ops[0], at("c"), "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0);
    zoo_create_op_init(&ops[1], at("c/d"), "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0);
    zoo_delete_op_init(&ops[2], at("c/d"), -1);
    answers.count = 0;
    EXPECT(ZOK, zoo_amulti(zh, 3, ops, results, on_void, (void *)1));
    EVENTUALLY(answers.count == 1, 5000);
    EXPECT(ZOK, answers.rc[0]);
}

static void watches(void)
{
    zhandle_t *zh = client(), *other = client();
    seen_t *seen = seen_of(zh);
    struct String_vector names;
    char data[16];
    int size = sizeof data;
    EXPECT(ZNONODE, zoo_exists(zh, at("w"), 1, NULL));
    EXPECT(ZOK, make(other, at("w"), "", ZOO_PERSISTENT));
    EVENTUALLY(saw(seen, ZOO_CREATED_EVENT, at("w")) == 1, 5000);
    EXPECT(ZOK, zoo_wget(zh, at("w"), on_event, seen, data, &size, NULL));
    EXPECT(ZOK, put(other, at("w"), "1"));
    EVENTUALLY(saw(seen, ZOO_CHANGED_EVENT, at("w")) == 1, 5000);
    EXPECT(ZOK, put(other, at("w"), "2"));
    EXPECT(ZOK, zoo_wget_children(zh, at("w"), on_event, seen, &names));
    deallocate_String_vector(&names);
    EXPECT(ZOK, make(other, at("w/c"), "", ZOO_PERSISTENT));
    EVENTUALLY(saw(seen, ZOO_CHILD_EVENT, at("w")) == 1, 5000);
    EXPECT(ZOK, zoo_delete(other, at("w/c"), -1));
    catch_up(zh);
    EXPECT(ZOK, zoo_wexists(zh, at("w"), on_event, seen, NULL));
    EXPECT(ZOK, zoo_delete(other, at("w"), -1));
    EVENTUALLY(saw(seen, ZOO_DELETED_EVENT, at("w")) == 1, 5000);
    usleep(100000);
    REQUIRE(seen->count == 4); /* each watch spoke once */
}

static void watches_removed(void)
{
    zhandle_t *zh = client(), *other = client();
    seen_t *seen = seen_of(zh);
    EXPECT(ZOK, zoo_wexists(zh, root, on_event, seen, NULL));
    EXPECT(ZOK, zoo_remove_watches(zh, root, ZWATCHTYPE_DATA, on_event, seen, 0));
    EXPECT(ZNOWATCHER, zoo_remove_watches(zh, root, ZWATCHTYPE_DATA, on_event, seen, 0));
    EXPECT(ZOK, put(other, root, "x"));
    catch_up(zh);
    usleep(100000);
    REQUIRE(saw(seen, ZOO_CHANGED_EVENT, root) == 0);
}

static void acl_digest(void)
{
    zhandle_t *owner = client(), *other = client();
    struct ACL_vector acl;
    struct Stat stat;
    struct ACL both[] = {{ZOO_PERM_READ, {"world", "anyone"}}, {ZOO_PERM_ALL, {"auth", ""}}};
    char data[16];
    int size = sizeof data;
    EXPECT(ZINVALIDACL, zoo_create(other, at("none"), "", 0, &ZOO_CREATOR_ALL_ACL, 0, NULL, 0));
    answers.count = 0;
    EXPECT(ZOK, zoo_add_auth(owner, "digest", "joe:secret", 10, on_void, (void *)0));
    EVENTUALLY(answers.count == 1, 5000);
    EXPECT(ZOK, answers.rc[0]);
    EXPECT(ZOK, zoo_create(owner, at("mine"), "x", 1, &ZOO_CREATOR_ALL_ACL, 0, NULL, 0));
    EXPECT(ZOK, zoo_get_acl(owner, at("mine"), &acl, &stat));
    REQUIRE(acl.count == 1 && acl.data[0].perms == ZOO_PERM_ALL && !strcmp(acl.data[0].id.scheme, "digest"));
    /* joe:base64(sha1("joe:secret")) */
    REQUIRE(!strcmp(acl.data[0].id.id, "joe:oesAybBun9icKJjQSTRN8OBueSc="));
    deallocate_ACL_vector(&acl);
    catch_up(other);
    EXPECT(ZNOAUTH, zoo_get(other, at("mine"), 0, data, &size, NULL));
    EXPECT(ZNOAUTH, put(other, at("mine"), "y"));
    EXPECT(ZNOAUTH, make(other, at("mine/child"), "", 0));
    EXPECT(ZNOAUTH, zoo_set_acl(other, at("mine"), -1, &ZOO_OPEN_ACL_UNSAFE));
    struct ACL_vector mixed = {2, both};
    EXPECT(ZOK, zoo_set_acl(owner, at("mine"), 0, &mixed));
    EXPECT(ZBADVERSION, zoo_set_acl(owner, at("mine"), 0, &mixed));
    catch_up(other);
    REQUIRE(holds(other, at("mine"), "x"));
    EXPECT(ZNOAUTH, put(other, at("mine"), "y"));
    EXPECT(ZOK, zoo_add_auth(other, "digest", "joe:secret", 10, on_void, (void *)0));
    EXPECT(ZOK, put(other, at("mine"), "y"));
}

static void auth_refused(void)
{
    zhandle_t *zh = client();
    EXPECT(ZOK, zoo_add_auth(zh, "nonesuch", "x", 1, on_void, (void *)0));
    EVENTUALLY(zoo_state(zh) == ZOO_AUTH_FAILED_STATE, 5000);
}

static void chroot_path(void)
{
    char where[1024 + PATH];
    zhandle_t *zh = client(), *inner;
    snprintf(where, sizeof where, "%s%s", hosts, root);
    inner = open_at(where);
    catch_up(inner);
    EXPECT(ZNONODE, zoo_exists(inner, "/n", 1, NULL));
    EXPECT(ZOK, make(zh, at("n"), "x", ZOO_PERSISTENT));
    EVENTUALLY(saw(seen_of(inner), ZOO_CREATED_EVENT, "/n") == 1, 5000);
    REQUIRE(holds(inner, "/n", "x"));
}

static void config_node(void)
{
    zhandle_t *zh = client();
    char data[4096];
    int size = sizeof data;
    EXPECT(ZOK, zoo_getconfig(zh, 0, data, &size, NULL));
}

/* Calls that were under way at a cut fail with ZCONNECTIONLOSS; the session goes on. */
static void reconnects(void)
{
    zhandle_t *zh = open_at(proxied), *other = client();
    int64_t id = zoo_client_id(zh)->client_id;
    int done = 0;
    EXPECT(ZOK, make(zh, at("e"), "", ZOO_EPHEMERAL));
    for (int i = 0; i < 10; i++) {
        char data[16];
        cut();
        for (snprintf(data, sizeof data, "%d", i); done <= i;) {
            int rc = put(zh, at("e"), data);
            if (rc == ZOK)
                done++;
            else if (rc != ZCONNECTIONLOSS && rc != ZOPERATIONTIMEOUT)
                EXPECT(ZCONNECTIONLOSS, rc);
        }
        usleep(100000);
    }
    REQUIRE(zoo_client_id(zh)->client_id == id);
    struct Stat stat;
    catch_up(other);
    EXPECT(ZOK, zoo_exists(other, at("e"), 0, &stat));
    REQUIRE(stat.ephemeralOwner == id && stat.version >= 10 && holds(other, at("e"), "9"));
}

/* What changes while a client is away, its watches tell it when it is back. */
static void watches_reset(void)
{
    zhandle_t *zh = open_at(proxied), *other = client();
    seen_t *seen = seen_of(zh);
    struct String_vector names;
    const char *all[] = {"changed", "deleted", "parent", "still", "quiet"};
    for (int i = 0; i < 5; i++)
        EXPECT(ZOK, make(other, at(all[i]), "", ZOO_PERSISTENT));
    catch_up(zh);
    for (int i = 0; i < 5; i++)
        EXPECT(ZOK, zoo_exists(zh, at(all[i]), 1, NULL));
    EXPECT(ZNONODE, zoo_exists(zh, at("created"), 1, NULL));
    EXPECT(ZNONODE, zoo_exists(zh, at("later"), 1, NULL));
    EXPECT(ZOK, zoo_get_children(zh, at("parent"), 1, &names));
    deallocate_String_vector(&names);
    EXPECT(ZOK, zoo_get_children(zh, at("quiet"), 1, &names));
    deallocate_String_vector(&names);
    proxy.refuse = 1;
    EVENTUALLY(zoo_state(zh) != ZOO_CONNECTED_STATE, 5000);
    EXPECT(ZOK, put(other, at("changed"), "x"));
    EXPECT(ZOK, zoo_delete(other, at("deleted"), -1));
    EXPECT(ZOK, make(other, at("parent/c"), "", ZOO_PERSISTENT));
    EXPECT(ZOK, make(other, at("created"), "", ZOO_PERSISTENT));
    REQUIRE(seen->count == 0);
    proxy.refuse = 0;
    EVENTUALLY(zoo_state(zh) == ZOO_CONNECTED_STATE, 10000);
    EVENTUALLY(saw(seen, ZOO_CHANGED_EVENT, at("changed")) == 1, 5000);
    EVENTUALLY(saw(seen, ZOO_DELETED_EVENT, at("deleted")) == 1, 5000);
    EVENTUALLY(saw(seen, ZOO_CHILD_EVENT, at("parent")) == 1, 5000);
    EVENTUALLY(saw(seen, ZOO_CREATED_EVENT, at("created")) == 1, 5000);
    usleep(100000);
    REQUIRE(seen->count == 4); /* nothing but what happened */
    EXPECT(ZOK, put(other, at("still"), "x"));
    EXPECT(ZOK, make(other, at("later"), "", ZOO_PERSISTENT));
    EXPECT(ZOK, make(other, at("quiet/c"), "", ZOO_PERSISTENT));
    EVENTUALLY(saw(seen, ZOO_CHANGED_EVENT, at("still")) == 1, 5000);
    EVENTUALLY(saw(seen, ZOO_CREATED_EVENT, at("later")) == 1, 5000);
    EVENTUALLY(saw(seen, ZOO_CHILD_EVENT, at("quiet")) == 1, 5000);
}

/* Credentials are given again on a new connection. */
static void auth_after_cut(void)
{
    zhandle_t *zh = open_at(proxied);
    EXPECT(ZOK, zoo_add_auth(zh, "digest", "joe:secret", 10, on_void, (void *)0));
    EXPECT(ZOK, zoo_create(zh, at("mine"), "x", 1, &ZOO_CREATOR_ALL_ACL, 0, NULL, 0));
    cut();
    EVENTUALLY(zoo_state(zh) == ZOO_CONNECTED_STATE && holds(zh, at("mine"), "x"), 10000);
}

static void session_resumed(void)
{
    zhandle_t *zh = open_at(proxied), *again;
    EXPECT(ZOK, make(zh, at("e"), "", ZOO_EPHEMERAL));
    clientid_t id = *zoo_client_id(zh);
    proxy.refuse = 1;
    EVENTUALLY(zoo_state(zh) != ZOO_CONNECTED_STATE, 5000);
    again = open_with(hosts, SESSION_MS, &id);
    EVENTUALLY(zoo_state(again) == ZOO_CONNECTED_STATE, 10000);
    REQUIRE(zoo_client_id(again)->client_id == id.client_id);
    REQUIRE(!memcmp(zoo_client_id(again)->passwd, id.passwd, sizeof id.passwd));
    REQUIRE(zoo_recv_timeout(again) == zoo_recv_timeout(zh));
    EXPECT(ZOK, zoo_exists(again, at("e"), 0, NULL));
    shut(again); /* ends the session */
    again = client();
    EXPECT(ZNONODE, zoo_exists(again, at("e"), 0, NULL));
    again = open_with(hosts, SESSION_MS, &id);
    EVENTUALLY(zoo_state(again) == ZOO_EXPIRED_SESSION_STATE, 10000);
}

static void session_password(void)
{
    zhandle_t *zh = client(), *thief;
    clientid_t id = *zoo_client_id(zh);
    EXPECT(ZOK, make(zh, at("e"), "", ZOO_EPHEMERAL));
    id.passwd[3] ^= 1;
    thief = open_with(hosts, SESSION_MS, &id);
    EVENTUALLY(zoo_state(thief) == ZOO_EXPIRED_SESSION_STATE, 10000);
    EXPECT(ZOK, put(zh, at("e"), "still mine"));
}

static void session_expired(void)
{
    zhandle_t *zh = open_with(proxied, 2000, NULL), *other = client();
    EVENTUALLY(zoo_state(zh) == ZOO_CONNECTED_STATE, 10000);
    int wait = 2 * zoo_recv_timeout(zh) + 2000;
    EXPECT(ZOK, make(zh, at("e"), "", ZOO_EPHEMERAL));
    catch_up(other);
    EXPECT(ZOK, zoo_exists(other, at("e"), 1, NULL));
    proxy.refuse = 1;
    EVENTUALLY(saw(seen_of(other), ZOO_DELETED_EVENT, at("e")) == 1, wait);
    proxy.refuse = 0;
    EVENTUALLY(zoo_state(zh) == ZOO_EXPIRED_SESSION_STATE, 10000);
    EVENTUALLY(seen_of(zh)->session_state == ZOO_EXPIRED_SESSION_STATE, 5000);
    EXPECT(ZINVALIDSTATE, zoo_exists(zh, root, 0, NULL));
}

#define CHECK(name) {#name, name}
static const struct {
    const char *name;
    void (*run)(void);
} checks[] = {
    CHECK(create_get_set_delete), CHECK(large_data), CHECK(create_with_stat), CHECK(children),
    CHECK(sequential), CHECK(ephemeral), CHECK(container), CHECK(ttl), CHECK(async_in_order),
    CHECK(multi), CHECK(watches), CHECK(watches_removed), CHECK(acl_digest), CHECK(auth_refused),
    CHECK(chroot_path), CHECK(config_node), CHECK(reconnects), CHECK(watches_reset),
    CHECK(auth_after_cut), CHECK(session_resumed), CHECK(session_password), CHECK(session_expired),
};

static void out_of_time(int signal)
{
    (void)signal;
    printf("FAIL %s: no end after %d s\n%d passed, %d failed\n", running, CHECK_SECONDS, passed, failed + 1);
    fflush(stdout);
    _exit(1);
}

static void run_check(int number)
{
    running = checks[number].name;
    snprintf(root, sizeof root, "/c-suite-%d-%s", (int)getpid(), running);
    opened = 0;
    alarm(CHECK_SECONDS);
    int ok = 0;
    if (!setjmp(giving_up)) {
        EXPECT(ZOK, make(client(), root, "", ZOO_PERSISTENT));
        checks[number].run();
        ok = 1;
    }
    for (int i = 0; i < opened; i++)
        if (handles[i])
            zookeeper_close(handles[i]);
    opened = 0;
    proxy.refuse = 0;
    if (!setjmp(giving_up)) {
        zhandle_t *zh = client();
        EXPECT(ZOK, zoo_add_auth(zh, "digest", "joe:secret", 10, on_void, (void *)0));
        remove_all(zh, root);
        shut(zh);
    }
    alarm(0);
    if (ok)
        printf("ok %s\n", running);
    else
        printf("FAIL %s: %s\n", running, why);
    fflush(stdout);
    passed += ok;
    failed += !ok;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: %s HOST:PORT[,HOST:PORT] [CHECK...]\n", argv[0]);
        return 2;
    }
    snprintf(hosts, sizeof hosts, "%s", argv[1]);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGALRM, out_of_time);
    zoo_set_debug_level(0);
    proxy_start();
    for (size_t i = 0; i < sizeof checks / sizeof *checks; i++) {
        int wanted = argc == 2;
        for (int a = 2; a < argc; a++)
            wanted |= !strcmp(argv[a], checks[i].name);
        if (wanted)
            run_check(i);
    }
    printf("%d passed, %d failed\n", passed, failed);
    return failed > 0;
}
