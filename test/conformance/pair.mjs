// Connects two servers of the reference in one process.

import { EventEmitter } from 'node:events';
import { ClusterAdapter } from 'socket.io-adapter';

// pairedAdapter returns the adapter of both servers.
export function pairedAdapter() {
  const bus = new EventEmitter().setMaxListeners(0); // each namespace of each server listens
  return class PairedAdapter extends ClusterAdapter {
    constructor(namespace) {
      super(namespace);
      bus.on('message', (message) => this.onMessage(message));
      bus.on('response', (uid, response) => uid === this.uid && this.onResponse(response));
    }

    async doPublish(message) { bus.emit('message', message); }

    async doPublishResponse(uid, response) { bus.emit('response', uid, response); }

    async serverCount() { return 2; }
  };
}
