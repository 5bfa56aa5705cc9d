import {
  type Deleted,
  type Page,
  WebhookDeliveryObject,
  WebhookEndpointObject,
} from '@graft/contracts';
import { Body, Controller, Delete, Get, HttpCode, Param, Post, Query } from '@nestjs/common';
import { ApiBearerAuth, ApiBody, ApiTags } from '@nestjs/swagger';
import { Answers, AnswersDeleted, AnswersPage } from '../http/openapi.js';
import { Caller, Needs, type Principal } from '../auth/principal.js';
import { bodySchema } from '../http/parse.js';
import { CreateEndpoint, UpdateEndpoint } from './endpoint-body.js';
import { WebhookEndpoints } from './webhook-endpoints.service.js';

type Asked = Record<string, unknown>;

@ApiTags('webhooks')
@ApiBearerAuth()
@Controller('v1/webhook_endpoints')
export class WebhooksController {
  constructor(private readonly endpoints: WebhookEndpoints) {}

  @Post()
  @HttpCode(200)
  @Needs('project:admin')
  @ApiBody({ schema: bodySchema(CreateEndpoint) })
  @Answers(WebhookEndpointObject, 'Makes a webhook endpoint; its secret is in this answer alone')
  create(@Caller() caller: Principal, @Body() body: unknown): Promise<WebhookEndpointObject> {
    return this.endpoints.create(caller, body);
  }

  @Get()
  @Needs('project:admin')
  @AnswersPage(WebhookEndpointObject, 'Webhook endpoints', { limit: 20, most: 100 })
  list(@Caller() caller: Principal, @Query() query: Asked): Promise<Page<WebhookEndpointObject>> {
    return this.endpoints.list(caller, query);
  }

  @Get(':id')
  @Needs('project:admin')
  @Answers(WebhookEndpointObject, 'A webhook endpoint')
  get(@Caller() caller: Principal, @Param('id') id: string): Promise<WebhookEndpointObject> {
    return this.endpoints.get(caller, id);
  }

  @Post(':id')
  @HttpCode(200)
  @Needs('project:admin')
  @ApiBody({ schema: bodySchema(UpdateEndpoint) })
  @Answers(WebhookEndpointObject, 'Changes a webhook endpoint, or switches it on or off')
  update(
    @Caller() caller: Principal,
    @Param('id') id: string,
    @Body() body: unknown,
  ): Promise<WebhookEndpointObject> {
    return this.endpoints.update(caller, id, body);
  }

  @Delete(':id')
  @Needs('project:admin')
  @AnswersDeleted('webhook_endpoint', 'Deletes a webhook endpoint')
  remove(
    @Caller() caller: Principal,
    @Param('id') id: string,
  ): Promise<Deleted<'webhook_endpoint'>> {
    return this.endpoints.remove(caller, id);
  }

  @Post(':id/rotate_secret')
  @HttpCode(200)
  @Needs('project:admin')
  @Answers(WebhookEndpointObject, 'Gives an endpoint another secret, which is in this answer alone')
  rotate(@Caller() caller: Principal, @Param('id') id: string): Promise<WebhookEndpointObject> {
    return this.endpoints.rotate(caller, id);
  }

  @Post(':id/test')
  @HttpCode(200)
  @Needs('project:admin')
  @Answers(WebhookDeliveryObject, 'Sends an endpoint an event to test it')
  test(@Caller() caller: Principal, @Param('id') id: string): Promise<WebhookDeliveryObject> {
    return this.endpoints.test(caller, id);
  }

  @Get(':id/deliveries')
  @Needs('project:admin')
  @AnswersPage(WebhookDeliveryObject, 'Deliveries to an endpoint, newest first', {
    limit: 20,
    most: 100,
  })
  deliveries(
    @Caller() caller: Principal,
    @Param('id') id: string,
    @Query() query: Asked,
  ): Promise<Page<WebhookDeliveryObject>> {
    return this.endpoints.deliveries(caller, id, query);
  }

  @Get(':id/deliveries/:delivery')
  @Needs('project:admin')
  @Answers(WebhookDeliveryObject, 'A delivery, and its tries')
  delivery(
    @Caller() caller: Principal,
    @Param('id') id: string,
    @Param('delivery') delivery: string,
  ): Promise<WebhookDeliveryObject> {
    return this.endpoints.delivery(caller, id, delivery);
  }

  @Post(':id/deliveries/:delivery/retry')
  @HttpCode(200)
  @Needs('project:admin')
  @Answers(WebhookDeliveryObject, 'Tries a delivery again')
  retry(
    @Caller() caller: Principal,
    @Param('id') id: string,
    @Param('delivery') delivery: string,
  ): Promise<WebhookDeliveryObject> {
    return this.endpoints.retry(caller, id, delivery);
  }
}
