'use strict';
// Conformance of a ZooKeeper server as node-zookeeper-client sees it.
//
//     NODE_PATH=.../node_modules node node_suite.js HOST:PORT[,HOST:PORT] [CHECK...]
//
// Prints "ok NAME" or "FAIL NAME: why" per check, then "N passed, N failed"; exits
// 0 only if none failed. With names, only those checks run. Each check works below
// a path of its own and removes it.

const assert = require('assert');
const net = require('net');
const crypto = require('crypto');
const zookeeper = require('node-zookeeper-client');

const { ACL, CreateMode, Event, Exception, Id, Permission, State } = zookeeper;
const CHECK_MS = 60000; // the most that one check may take
const SESSION_MS = 8000;

const [hosts, ...names] = process.argv.slice(2);
if (!hosts) {
    console.error('usage: node_suite.js HOST:PORT[,HOST:PORT] [CHECK...]');
    process.exit(2);
}

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Passes connections on to the servers, until they are cut. */
class Proxy {
    async start() {
        this.sockets = new Set();
        this.servers = [];
        for (const host of hosts.split(',')) {
            const [, name, port] = host.match(/^(.*):(\d+)$/);
            const server = net.createServer((inner) => {
                if (this.refusing) return inner.destroy();
                const outer = net.connect(port, name);
                for (const [from, to] of [[inner, outer], [outer, inner]]) {
                    this.sockets.add(from);
                    from.setNoDelay();
                    from.pipe(to);
                    from.on('error', () => {});
                    from.on('close', () => {
                        this.sockets.delete(from);
                        to.destroy();
                    });
                }
            });
            await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
            this.servers.push(server);
        }
        this.hosts = this.servers.map((s) => '127.0.0.1:' + s.address().port).join(',');
        return this;
    }

    cut() {
        for (const socket of this.sockets) socket.destroy();
    }

    stop() {
        this.refusing = true;
        this.cut();
        for (const server of this.servers) server.close();
    }
}

/** A client whose calls give promises; what its watchers see goes to `seen`. */
class Client {
    constructor(where, options) {
        this.raw = zookeeper.createClient(where, { sessionTimeout: SESSION_MS, spinDelay: 100, ...options });
        this.seen = [];
        this.states = [];
        this.raw.on('state', (state) => this.states.push(state));
        const watch = (event) => this.seen.push([event.getType(), event.getPath()]);
        const call = (name, ...args) =>
            new Promise((resolve, reject) => {
                const called = new Error(); // for its stack
                this.raw[name](...args, (error, ...results) => {
                    if (error) reject(Object.assign(error, { stack: called.stack }));
                    else resolve(results.length > 1 ? results : results[0]);
                });
            });
        for (const name of ['create', 'remove', 'setData', 'setACL', 'getACL', 'mkdirp', 'exists', 'getData',
            'getChildren']) {
            this[name] = (...args) => call(name, ...args);
        }
        for (const name of ['exists', 'getData', 'getChildren']) {
            this[name + 'Watched'] = (path) => call(name, path, watch);
        }
    }

    connect() {
        return new Promise((resolve) => {
            this.raw.once('connected', resolve);
            this.raw.connect();
        });
    }

    /** The client's own removeRecursive sees only the first two levels. */
    async removeAll(path) {
        for (const name of (await this.getChildren(path))[0]) await this.removeAll(`${path}/${name}`);
        await this.remove(path);
    }

    id() {
        return this.raw.getSessionId().toString('hex');
    }

    commit(build) {
        const transaction = build(this.raw.transaction());
        return new Promise((resolve) => transaction.commit((error, results) => resolve({ error, results })));
    }
}

/** What a check works with. */
class Env {
    constructor(name) {
        this.path = `/node-suite-${crypto.randomBytes(4).toString('hex')}-${name}`;
        this.clients = [];
    }

    async client(where = hosts, options = {}) {
        const client = new Client(where, options);
        this.clients.push(client);
        await client.connect();
        if (this.clients.length === 1) await client.create(this.path);
        // This client knows no sync: wait until its server has the path.
        await eventually(() => client.exists(this.path).catch(lost), 'the path does not show');
        return client;
    }

    async proxy() {
        this.proxied = await new Proxy().start();
        return this.proxied;
    }

    async close() {
        if (this.proxied) this.proxied.stop();
        const client = new Client(hosts, {});
        client.raw.addAuthInfo('digest', Buffer.from('joe:secret'));
        await client.connect();
        await client.removeAll(this.path);
        for (const one of [...this.clients, client]) one.raw.close();
    }
}

/** For catch(): a cut makes calls fail, other errors are errors. */
function lost(error) {
    if (error.code !== Exception.CONNECTION_LOSS) throw error;
    return null;
}

async function eventually(condition, what, ms = 10000) {
    const end = Date.now() + ms;
    while (!(await condition())) {
        assert(Date.now() < end, typeof what === 'function' ? what() : what);
        await sleep(10);
    }
}

async function fails(promise, code) {
    const error = await promise.then(() => null, (e) => e);
    assert(error, `no ${code}`);
    assert.strictEqual(error.name, code, `${error}, not ${code}`);
}

const bytes = (text) => Buffer.from(text);

async function saw(client, ...events) {
    const want = events.map(String).sort();
    const got = () => client.seen.map(String).sort();
    await eventually(() => client.seen.length >= want.length, () => `watches: ${got()}, not ${want}`);
    await sleep(100);
    assert.deepStrictEqual(got(), want);
    client.seen.length = 0;
}

const checks = {
    async create_get_set_delete(env) {
        const zk = await env.client();
        const path = env.path + '/n';
        assert.strictEqual(await zk.create(path, bytes('one')), path);
        await fails(zk.create(path), 'NODE_EXISTS');
        const [data, stat] = await zk.getData(path);
        assert.strictEqual(data.toString(), 'one');
        assert.strictEqual(stat.version, 0);
        assert.strictEqual(stat.dataLength, 3);
        const changed = await zk.setData(path, bytes('two'), 0);
        assert.strictEqual(changed.version, 1);
        await fails(zk.setData(path, bytes(''), 0), 'BAD_VERSION');
        await fails(zk.remove(path, 0), 'BAD_VERSION');
        await zk.remove(path, 1);
        assert.strictEqual(await zk.exists(path), null);
        await fails(zk.getData(path), 'NO_NODE');
        await fails(zk.remove(path), 'NO_NODE');
        await fails(zk.create(path + '/child'), 'NO_NODE');
        const big = crypto.randomBytes(1000000);
        await zk.create(path, big);
        assert(big.equals((await zk.getData(path))[0]));
    },

    async children(env) {
        const zk = await env.client();
        await zk.mkdirp(env.path + '/a/b/c', bytes('x'));
        await zk.mkdirp(env.path + '/a/\u00e9\u4e2d');
        const [children, stat] = await zk.getChildren(env.path + '/a');
        assert.deepStrictEqual(children.sort(), ['b', '\u00e9\u4e2d']);
        assert.strictEqual(stat.numChildren, 2);
        await fails(zk.remove(env.path + '/a'), 'NOT_EMPTY');
        assert.strictEqual((await zk.getData(env.path + '/a/b/c'))[0].toString(), 'x');
    },

    async many_at_once(env) {
        const zk = await env.client();
        const path = env.path + '/n';
        await zk.create(path);
        const done = [];
        for (let i = 0; i < 500; i++) {
            zk.setData(path, bytes(`${i}`), i).then(() => done.push(i));
        }
        const [data, stat] = await zk.getData(path);
        assert.strictEqual(`${data} ${stat.version} ${done.length}`, '499 500 500');
        assert(done.every((n, i) => n === i), 'answers out of order');
    },

    async ephemeral(env) {
        const zk = await env.client();
        const other = await env.client();
        await zk.create(env.path + '/e', CreateMode.EPHEMERAL);
        const stat = await zk.exists(env.path + '/e');
        assert.strictEqual(stat.ephemeralOwner.toString('hex'), zk.id());
        await fails(zk.create(env.path + '/e/child'), 'NO_CHILDREN_FOR_EPHEMERALS');
        await eventually(() => other.exists(env.path + '/e'), 'another client does not see it');
        zk.raw.close();
        await eventually(async () => !(await other.exists(env.path + '/e')), 'it outlives its session', 5000);
    },

    async sequential(env) {
        const zk = await env.client();
        for (const [i, mode] of [CreateMode.PERSISTENT_SEQUENTIAL, CreateMode.EPHEMERAL_SEQUENTIAL].entries()) {
            assert.strictEqual(await zk.create(env.path + '/s-', mode), `${env.path}/s-000000000${i}`);
        }
    },

    async transaction(env) {
        const zk = await env.client();
        const path = env.path;
        await zk.create(path + '/a', bytes('1'));
        const good = await zk.commit((t) => t.check(path + '/a', 0)
            .create(path + '/b', bytes('2')).create(path + '/s-', null, CreateMode.EPHEMERAL_SEQUENTIAL)
            .setData(path + '/a', bytes('3'), 0).remove(path + '/b', 0));
        assert(!good.error, String(good.error));
        assert.strictEqual(good.results[1].path, path + '/b');
        assert.strictEqual(good.results[2].path, path + '/s-0000000002');
        assert.strictEqual(good.results[3].stat.version, 1);
        assert.strictEqual(await zk.exists(path + '/b'), null);
        const bad = await zk.commit((t) => t.create(path + '/c').check(path + '/a', 99).create(path + '/d'));
        assert.strictEqual(bad.error.name, 'BAD_VERSION');
        assert.deepStrictEqual(bad.results.map((r) => r.err),
            [Exception.OK, Exception.BAD_VERSION, Exception.RUNTIME_INCONSISTENCY]);
        assert.strictEqual(await zk.exists(path + '/c'), null);
    },

    async watches(env) {
        const zk = await env.client();
        const other = await env.client();
        const path = env.path + '/w';
        await zk.existsWatched(path);
        await other.create(path);
        await saw(zk, [Event.NODE_CREATED, path]);
        await zk.getDataWatched(path);
        await other.setData(path, bytes('1'));
        await other.setData(path, bytes('2')); // that watch is spent
        await saw(zk, [Event.NODE_DATA_CHANGED, path]);
        await eventually(async () => (await zk.exists(path)).version === 2, 'the change does not show');
        await zk.getChildrenWatched(path);
        await other.create(path + '/c');
        await other.remove(path + '/c');
        await saw(zk, [Event.NODE_CHILDREN_CHANGED, path]);
        await eventually(async () => (await zk.exists(path)).cversion === 2, 'the change does not show');
        await zk.getChildrenWatched(path);
        await other.remove(path);
        await saw(zk, [Event.NODE_DELETED, path]);
    },

    async acl_digest(env) {
        const owner = await env.client();
        const other = await env.client();
        const path = env.path + '/mine';
        const hash = 'joe:' + crypto.createHash('sha1').update('joe:secret').digest('base64');
        await fails(other.create(path, ACL.CREATOR_ALL_ACL), 'INVALID_ACL');
        owner.raw.addAuthInfo('digest', bytes('joe:secret'));
        await owner.create(path, bytes('x'), ACL.CREATOR_ALL_ACL);
        const [acls] = await owner.getACL(path);
        assert.strictEqual(acls.length, 1);
        assert.deepStrictEqual([acls[0].permission, acls[0].id.scheme, acls[0].id.id], [31, 'digest', hash]);
        // Not by exists(path): that wants READ since 3.9.
        await eventually(async () => (await other.exists(env.path)).numChildren, 'the node does not show');
        await fails(other.getData(path), 'NO_AUTH');
        await fails(other.setData(path, bytes('y')), 'NO_AUTH');
        await fails(other.create(path + '/child'), 'NO_AUTH');
        await fails(other.setACL(path, ACL.OPEN_ACL_UNSAFE), 'NO_AUTH');
        const stat = await owner.setACL(path,
            [new ACL(Permission.READ, Id.ANYONE_ID_UNSAFE), new ACL(Permission.ALL, new Id('digest', hash))], 0);
        assert.strictEqual(stat.aversion, 1);
        await eventually(() => other.getData(path).catch(() => null), 'reading is not allowed');
        await fails(other.setData(path, bytes('y')), 'NO_AUTH');
        other.raw.addAuthInfo('digest', bytes('joe:secret'));
        await other.setData(path, bytes('y'));
    },

    async auth_refused(env) {
        const zk = await env.client();
        zk.raw.addAuthInfo('nonesuch', bytes('x'));
        await eventually(() => zk.states.includes(State.AUTH_FAILED), 'a wrong scheme is let in');
    },

    async chroot(env) {
        const zk = await env.client();
        const inner = new Client(hosts + env.path);
        env.clients.push(inner);
        await inner.connect();
        await inner.existsWatched('/n');
        await zk.create(env.path + '/n', bytes('x'));
        await saw(inner, [Event.NODE_CREATED, '/n']);
        assert.strictEqual((await inner.getData('/n'))[0].toString(), 'x');
        assert.strictEqual(await inner.create('/m'), '/m');
    },

    async watches_after_cut(env) {
        const proxy = await env.proxy();
        const writer = await env.client();
        for (const name of ['changed', 'deleted', 'parent', 'still']) await writer.create(`${env.path}/${name}`);
        const zk = await env.client(proxy.hosts);
        const id = zk.id();
        await eventually(() => zk.exists(env.path + '/still'), 'the nodes do not show');
        await zk.create(env.path + '/e', CreateMode.EPHEMERAL);
        for (const name of ['changed', 'deleted', 'still', 'created']) await zk.existsWatched(`${env.path}/${name}`);
        await zk.getChildrenWatched(env.path + '/parent');
        proxy.refusing = true;
        proxy.cut();
        await eventually(() => zk.raw.getState() === State.DISCONNECTED, 'the cut is not noticed');
        await writer.setData(env.path + '/changed', bytes('x'));
        await writer.remove(env.path + '/deleted');
        await writer.create(env.path + '/parent/c');
        await writer.create(env.path + '/created');
        assert.deepStrictEqual(zk.seen, []);
        proxy.refusing = false;
        await saw(zk, [Event.NODE_DATA_CHANGED, env.path + '/changed'], [Event.NODE_DELETED, env.path + '/deleted'],
            [Event.NODE_CHILDREN_CHANGED, env.path + '/parent'], [Event.NODE_CREATED, env.path + '/created']);
        await writer.setData(env.path + '/still', bytes('x'));
        await saw(zk, [Event.NODE_DATA_CHANGED, env.path + '/still']);
        assert.strictEqual(zk.id(), id);
        assert((await zk.exists(env.path + '/e')).ephemeralOwner.toString('hex') === id);
    },

    async writes_through_cuts(env) {
        const proxy = await env.proxy();
        const zk = await env.client(proxy.hosts);
        const id = zk.id();
        await zk.create(env.path + '/e', CreateMode.EPHEMERAL);
        const end = Date.now() + 3000;
        let last = -1;
        const cutting = (async () => {
            while (Date.now() < end) {
                await sleep(200 + 300 * Math.random());
                proxy.cut();
            }
        })();
        for (let i = 0; Date.now() < end; i++) {
            if (await zk.setData(env.path + '/e', bytes(`${i}`)).catch(lost)) last = i;
            await sleep(10);
        }
        await cutting;
        await eventually(() => zk.exists(env.path).catch(lost), 'the client stays away');
        assert.strictEqual(zk.id(), id);
        const [data, stat] = await zk.getData(env.path + '/e');
        assert(Number(data) >= last && last > 10, `last written ${last}, read ${data}`);
        assert.strictEqual(stat.ephemeralOwner.toString('hex'), id);
    },

    async session_expires(env) {
        const proxy = await env.proxy();
        const zk = await env.client();
        const other = await env.client(proxy.hosts, { sessionTimeout: 2000 });
        await other.create(env.path + '/e', CreateMode.EPHEMERAL);
        await zk.existsWatched(env.path + '/e');
        proxy.refusing = true;
        proxy.cut();
        await eventually(async () => !(await zk.exists(env.path + '/e')), 'it outlives its session', 12000);
        proxy.refusing = false;
        await eventually(() => other.states.includes(State.EXPIRED), 'the client never learns of it');
    },
};

// An exception in a callback of the client fails the check that runs.
let broken = () => {};
process.on('uncaughtException', (error) => broken(error));
process.on('unhandledRejection', (error) => broken(error));

async function main() {
    let passed = 0;
    let failed = 0;
    for (const [name, check] of Object.entries(checks)) {
        if (names.length && !names.includes(name)) continue;
        const env = new Env(name);
        let timer;
        const trouble = new Promise((_, reject) => {
            broken = reject;
            timer = setTimeout(() => reject(new Error(`no end after ${CHECK_MS / 1000} s`)), CHECK_MS);
        });
        try {
            await Promise.race([check(env), trouble]);
            await Promise.race([env.close(), trouble]);
            console.log(`ok ${name}`);
            passed++;
        } catch (error) {
            const at = (error.stack || '').match(/node_suite\.js:\d+/g) || [];
            console.log(`FAIL ${name}: ${String(error.message || error).replace(/\n/g, ' ')} (${at.slice(0, 5)})`);
            failed++;
            await Promise.race([env.close(), sleep(5000)]).catch(() => {});
        }
        clearTimeout(timer);
        broken = () => {};
    }
    console.log(`${passed} passed, ${failed} failed`);
    process.exit(failed ? 1 : 0);
}

main();
