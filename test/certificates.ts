// Certificates for tests, created by openssl: certificate authorities and what they sign.
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

const NEW_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];

/** Certificate authority with the files `name.pem` and `name.key` in a folder. */
export class Authority {
  readonly cert: string;

  constructor(
    private readonly folder: string,
    private readonly name: string,
  ) {
    this.cert = join(folder, `${name}.pem`);
    const out = ['-keyout', `${name}.key`, '-out', `${name}.pem`, '-days', '2'];
    this.openssl('req', '-x509', ...NEW_KEY, '-subj', `/CN=${name}`, ...out);
  }

  /** Issues a certificate for one host in openssl's notation, such as `DNS:localhost`. */
  issue(host: string): { cert: string; key: string } {
    const name = `${this.name}-${host.replace(/\W/g, '-')}`;
    this.openssl('req', ...NEW_KEY, '-subj', '/CN=x', '-keyout', `${name}.key`, '-out', 'csr');
    writeFileSync(join(this.folder, 'san'), `subjectAltName=${host}\n`);
    const by = ['-CA', `${this.name}.pem`, '-CAkey', `${this.name}.key`, '-CAcreateserial'];
    const out = ['-out', `${name}.pem`, '-days', '2', '-extfile', 'san'];
    this.openssl('x509', '-req', '-in', 'csr', ...by, ...out);
    return { cert: join(this.folder, `${name}.pem`), key: join(this.folder, `${name}.key`) };
  }

  private openssl(...args: string[]): void {
    execFileSync('openssl', args, { cwd: this.folder, stdio: 'ignore' });
  }
}
