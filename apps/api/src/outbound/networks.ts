import { BlockList, isIP } from 'node:net';

/**
 * IANA's special-purpose addresses (RFC 6890 and its registries) that are not a single host of the public
 * internet: this host, private and shared networks, link-local addresses (including the metadata services of
 * clouds), addresses for tests and documentation, multicast, reserved addresses, and IPv6 prefixes that embed
 * an IPv4 address. An IPv4-mapped address is treated as its IPv4 address.
 */
const NOT_PUBLIC = [
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.0.2.0/24',
  '192.88.99.0/24',
  '192.168.0.0/16',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '224.0.0.0/4',
  '240.0.0.0/4',
  '2001::/23',
  '2001:db8::/32',
  '2002::/16',
  '3fff::/20',
];
/** Contains all public IPv6 addresses. */
const GLOBAL_UNICAST = '2000::/3';

/**
 * Parses networks in CIDR notation.
 * @throws Error that names the malformed network
 */
export function networks(texts: readonly string[]): BlockList {
  const list = new BlockList();
  for (const text of texts) {
    const [address = '', length = '', ...rest] = text.split('/');
    const family = isIP(address);
    const longest = family === 4 ? 32 : 128;
    if (family === 0 || rest.length > 0 || !/^\d{1,3}$/.test(length) || Number(length) > longest)
      throw new Error(`expected networks such as 10.0.0.0/8 or fd00::/8, got ${text}`);
    list.addSubnet(address, Number(length), family === 4 ? 'ipv4' : 'ipv6');
  }
  return list;
}

export const contains = (list: BlockList, address: string): boolean =>
  list.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4');

const notPublic = networks(NOT_PUBLIC);
const globalUnicast = networks([GLOBAL_UNICAST]);
const mapped = networks(['::ffff:0:0/96']);

/** Whether an address is a host of the public internet. */
export function isPublic(address: string): boolean {
  if (contains(notPublic, address)) return false;
  return isIP(address) === 4 || contains(mapped, address) || contains(globalUnicast, address);
}
