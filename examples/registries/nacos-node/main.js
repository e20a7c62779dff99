// An HTTP service that registers itself in Nacos with Alibaba's client for Node.js (HTTP v1, beats), and a client of it.
// Neither knows anything of crossfade.
'use strict';

const http = require('http');
const { NacosNamingClient } = require('nacos-naming');

const say = what => console.log(`${Date.now()} ${what}`);

function usage() {
  console.error('usage: main.js serve|consume [--registry HOST:PORT] [--service NAME] [--listen HOST:PORT] [--every-ms N]');
  process.exit(2);
}

function parse(args) {
  const flags = { registry: '127.0.0.1:8848', service: 'orders', listen: '127.0.0.1:9001', 'every-ms': '100' };
  for (let i = 0; i < args.length; i += 2) {
    const name = args[i].replace(/^--/, '');
    if (!(name in flags) || i + 1 === args.length) usage();
    flags[name] = args[i + 1];
  }
  return flags;
}

async function connect(flags) {
  const quiet = { debug() {}, info() {}, warn: m => console.error(m), error: m => console.error(m) };
  const client = new NacosNamingClient({ logger: quiet, serverList: flags.registry, namespace: 'public' });
  client.on('error', e => console.error(e.message));
  await client.ready();
  return client;
}

async function serve(flags) {
  const [ip, port] = flags.listen.split(':');
  const server = http.createServer((req, res) => res.end(flags.listen + '\n'));
  await new Promise(done => server.listen(Number(port), ip, done));
  const client = await connect(flags);
  const instance = { ip, port: Number(port), metadata: { version: 'v1' } };
  const began = Date.now();
  await client.registerInstance(flags.service, instance);
  say(`registered after ${Date.now() - began} ms`);
  process.on('SIGTERM', async () => {
    await client.deregisterInstance(flags.service, instance);
    say('deregistered');
    server.close(() => process.exit(0));
    server.closeIdleConnections();
  });
}

// consume asks one instance at a time, and says which.
async function consume(flags) {
  const client = await connect(flags);
  let hosts = [];
  client.subscribe(flags.service, list => {
    hosts = list.filter(h => h.enabled && h.healthy);
    say(['list', ...hosts.map(h => `${h.ip}:${h.port}=${h.weight}`).sort()].join(' '));
  });
  for (;;) {
    const one = hosts[Math.floor(Math.random() * hosts.length)];
    if (one) say(`${await ask(one) ? 'pick' : 'lost'} ${one.ip}:${one.port}`);
    await new Promise(done => setTimeout(done, Number(flags['every-ms'])));
  }
}

function ask(host) {
  return new Promise(done => {
    const req = http.get({ host: host.ip, port: host.port, agent: false, timeout: 2000 }, res => {
      res.resume();
      res.on('end', () => done(res.statusCode === 200));
    });
    req.on('timeout', () => req.destroy(new Error('timed out')));
    req.on('error', () => done(false));
  });
}

const [command, ...args] = process.argv.slice(2);
const run = { serve, consume }[command] || usage;
run(parse(args)).catch(e => {
  console.error(e);
  process.exit(1);
});
