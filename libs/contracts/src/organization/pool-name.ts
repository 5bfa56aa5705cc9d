/** Pattern of a pool name, for jobs, workers and join tokens. */
export const POOL_NAME = /^[a-z0-9][a-z0-9-]{0,62}$/;
export const POOL_NAME_RULE = 'must consist of lower-case letters, digits and "-"';
