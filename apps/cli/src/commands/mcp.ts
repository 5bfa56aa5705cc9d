import type { Command } from 'commander';
import { callOf } from '../command-line/command-line.js';

export function addMcp(program: Command): void {
  program
    .command('mcp')
    .description('Serve the Model Context Protocol on stdin and stdout')
    .option('--allow-changes', 'add tools that create and cancel jobs and sweeps')
    .action(async ({ allowChanges }: { allowChanges?: boolean }, command: Command) => {
      const api = callOf(command).api();
      // Loaded here so that other commands start faster.
      const { McpServer } = await import('@modelcontextprotocol/sdk/server/mcp.js');
      const { StdioServerTransport } = await import('@modelcontextprotocol/sdk/server/stdio.js');
      const { addChangingTools, addReadingTools } = await import('../mcp-tools.js');
      const server = new McpServer(
        { name: 'graft', version: program.version() ?? '' },
        {
          instructions:
            'Graft queues, trains and serves PEFT adapters. Name jobs and sweeps by id, prefix of the id, or suffix. Times are Unix seconds.',
        },
      );
      addReadingTools(server, api);
      if (allowChanges) addChangingTools(server, api);
      const closed = new Promise<void>((resolve) => (server.server.onclose = resolve));
      await server.connect(new StdioServerTransport());
      // The client closes stdin when it exits.
      process.stdin.once('end', () => void server.close());
      await closed;
    });
}
