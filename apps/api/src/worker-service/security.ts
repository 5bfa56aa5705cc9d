import { readFileSync } from 'node:fs';
import { createSecureContext } from 'node:tls';
import { X509Certificate } from 'node:crypto';
import { ServerCredentials } from '@grpc/grpc-js';
import { isLoopback, LOOPBACK, type ApiConfig } from '../config.js';

/** Security of the gateway's port. */
export interface ServerSecurity {
  readonly credentials: ServerCredentials;
  readonly tls: boolean;
  /** First DNS name in the certificate. */
  readonly certificateName: string | null;
  /** The gateway's certificate as PEM, which the other API processes trust. */
  readonly certificate: string | null;
}

/**
 * Returns TLS if a certificate is configured. Without one, the gateway must listen on this host only, because
 * join tokens, sessions and training data pass through it, unless the operator declares the network private
 * (--insecure-grpc).
 * @throws Error that names the missing or wrong flag
 */
export function serverSecurity(config: ApiConfig): ServerSecurity {
  const { grpcHost = LOOPBACK, relayHost = LOOPBACK } = config;
  const { grpcTlsCert: cert, grpcTlsKey: key, insecureGrpc } = config;
  if (cert && key) return tlsSecurity(cert, key);
  if (cert || key)
    throw new Error(
      `--grpc-tls-cert and --grpc-tls-key must be given together: --grpc-tls-${cert ? 'key' : 'cert'} is missing`,
    );
  if (!isLoopback(grpcHost) && !insecureGrpc)
    throw new Error(
      `the gateway would listen on ${grpcHost} without TLS, and workers would send their tokens unencrypted: ` +
        'set --grpc-tls-cert and --grpc-tls-key, or --insecure-grpc if that network is private',
    );
  if (!isLoopback(relayHost) && !insecureGrpc)
    throw new Error(
      `the relay between API processes would listen on ${relayHost} without TLS: ` +
        'set --grpc-tls-cert and --grpc-tls-key, or --insecure-grpc if that network is private',
    );
  const { scalerHost = LOOPBACK, scalerPort } = config;
  if (scalerPort !== undefined && !isLoopback(scalerHost) && !insecureGrpc)
    throw new Error(
      `the scaler for KEDA would listen on ${scalerHost} without TLS: ` +
        'set --grpc-tls-cert and --grpc-tls-key, or --insecure-grpc if that network is private',
    );
  return {
    credentials: ServerCredentials.createInsecure(),
    tls: false,
    certificateName: null,
    certificate: null,
  };
}

function tlsSecurity(certFile: string, keyFile: string): ServerSecurity {
  const cert = read(certFile, '--grpc-tls-cert');
  const key = read(keyFile, '--grpc-tls-key');
  try {
    createSecureContext({ cert, key });
  } catch (error) {
    throw new Error(
      `--grpc-tls-cert ${certFile} and --grpc-tls-key ${keyFile} are not a PEM certificate and its private key: ${(error as Error).message}`,
      { cause: error },
    );
  }
  return {
    credentials: ServerCredentials.createSsl(null, [{ cert_chain: cert, private_key: key }]),
    tls: true,
    certificateName: hostIn(cert),
    certificate: new X509Certificate(cert).toString(),
  };
}

function hostIn(certificate: Buffer): string | null {
  const names = new X509Certificate(certificate).subjectAltName ?? '';
  return /(?:^|, )DNS:([\w.-]+)(?:,|$)/.exec(names)?.[1] ?? null;
}

function read(file: string, flag: string): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    throw new Error(`${flag} cannot be read: ${(error as Error).message}`, { cause: error });
  }
}
