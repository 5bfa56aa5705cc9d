import type { Command } from 'commander';
import { callOf } from '../command-line/command-line.js';

export function addMcp(program: Command): void {
  program
    .command('mcp')
    .description('serve the Model Context Protocol on stdin and stdout, for assistants')
    .option('--allow-changes', 'also offer tools that create and cancel jobs and sweeps')
    .action(async ({ allowChanges }: { allowChanges?: boolean }, command: Command) => {
      const api = callOf(command).api();
      // loaded when they are needed: every other command starts without them
      const { McpServer } = await import('@modelcontextprotocol/sdk/server/mcp.js');
      const { StdioServerTransport } = await import('@modelcontextprotocol/sdk/server/stdio.js');
      const { addChangingTools, addReadingTools } = await import('../mcp-tools.js');
      const server = new McpServer(
        { name: 'graft', version: program.version() ?? '' },
        {
          instructions:
            'Graft queues, trains and serves PEFT adapters. Jobs and sweeps are named by id, a prefix of it, or their suffix. Times are unix seconds.',
        },
      );
      addReadingTools(server, api);
      if (allowChanges) addChangingTools(server, api);
      const closed = new Promise<void>((resolve) => (server.server.onclose = resolve));
      await server.connect(new StdioServerTransport());
      // Whoever started it closes its input when they go.
      process.stdin.once('end', () => void server.close());
      await closed;
    });
}
