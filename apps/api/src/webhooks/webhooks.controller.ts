import {
  type Deleted,
  type Page,
  WebhookDeliveryObject,
  WebhookEndpointObject,
  WebhookEventTypeList,
  WebhookTestResult,
  WEBHOOK_EVENT_TYPES,
} from '@graft/contracts';
import { Body, Controller, Delete, Get, HttpCode, Param, Post, Query } from '@nestjs/common';
import { ApiBearerAuth, ApiBody, ApiTags } from '@nestjs/swagger';
import { ApiJsonResponse, ApiDeletedResponse, ApiPageResponse } from '../http/openapi.js';
import { Caller, RequireScope, type Principal } from '../auth/principal.js';
import { bodySchema } from '../http/parse.js';
import { CreateEndpoint, RotateSecret, TestEndpoint, UpdateEndpoint } from './endpoint-body.js';
import { WebhookEndpoints } from './webhook-endpoints.service.js';

type QueryValues = Record<string, unknown>;

@ApiTags('webhooks')
@ApiBearerAuth()
@Controller('v1/webhook_endpoints')
export class WebhooksController {
  constructor(private readonly endpoints: WebhookEndpoints) {}

  @Post()
  @HttpCode(200)
  @RequireScope('project:admin')
  @ApiBody({ schema: bodySchema(CreateEndpoint) })
  @ApiJsonResponse(
    WebhookEndpointObject,
    'Creates a webhook endpoint. Only this response contains its secret',
  )
  create(@Caller() caller: Principal, @Body() body: unknown): Promise<WebhookEndpointObject> {
    return this.endpoints.create(caller, body);
  }

  @Get()
  @RequireScope('project:admin')
  @ApiPageResponse(WebhookEndpointObject, 'Lists webhook endpoints, newest first', {
    limit: 20,
    most: 100,
  })
  list(
    @Caller() caller: Principal,
    @Query() query: QueryValues,
  ): Promise<Page<WebhookEndpointObject>> {
    return this.endpoints.list(caller, query);
  }

  @Get(':id')
  @RequireScope('project:admin')
  @ApiJsonResponse(WebhookEndpointObject, 'Returns a webhook endpoint')
  get(@Caller() caller: Principal, @Param('id') id: string): Promise<WebhookEndpointObject> {
    return this.endpoints.get(caller, id);
  }

  @Post(':id')
  @HttpCode(200)
  @RequireScope('project:admin')
  @ApiBody({ schema: bodySchema(UpdateEndpoint) })
  @ApiJsonResponse(WebhookEndpointObject, 'Updates, enables or disables a webhook endpoint')
  update(
    @Caller() caller: Principal,
    @Param('id') id: string,
    @Body() body: unknown,
  ): Promise<WebhookEndpointObject> {
    return this.endpoints.update(caller, id, body);
  }

  @Delete(':id')
  @RequireScope('project:admin')
  @ApiDeletedResponse('webhook_endpoint.deleted', 'Deletes a webhook endpoint')
  remove(
    @Caller() caller: Principal,
    @Param('id') id: string,
  ): Promise<Deleted<'webhook_endpoint.deleted'>> {
    return this.endpoints.remove(caller, id);
  }

  @Post(':id/rotate_secret')
  @HttpCode(200)
  @RequireScope('project:admin')
  @ApiBody({ schema: bodySchema(RotateSecret), required: false })
  @ApiJsonResponse(
    WebhookEndpointObject,
    'Rotates the secret of an endpoint. Only this response contains the new secret',
  )
  rotate(
    @Caller() caller: Principal,
    @Param('id') id: string,
    @Body() body: unknown,
  ): Promise<WebhookEndpointObject> {
    return this.endpoints.rotate(caller, id, body);
  }

  @Post(':id/test')
  @HttpCode(200)
  @RequireScope('project:admin')
  @ApiBody({ schema: bodySchema(TestEndpoint), required: false })
  @ApiJsonResponse(
    WebhookTestResult,
    'Sends a test event to an endpoint: a sample of `event_type` immediately; without it, a delivery',
  )
  test(
    @Caller() caller: Principal,
    @Param('id') id: string,
    @Body() body: unknown,
  ): Promise<WebhookTestResult> {
    return this.endpoints.test(caller, id, body);
  }

  @Get(':id/deliveries')
  @RequireScope('project:admin')
  @ApiPageResponse(WebhookDeliveryObject, 'Lists the deliveries to an endpoint, newest first', {
    limit: 20,
    most: 100,
  })
  deliveries(
    @Caller() caller: Principal,
    @Param('id') id: string,
    @Query() query: QueryValues,
  ): Promise<Page<WebhookDeliveryObject>> {
    return this.endpoints.deliveries(caller, id, query);
  }

  @Get(':id/deliveries/:delivery')
  @RequireScope('project:admin')
  @ApiJsonResponse(WebhookDeliveryObject, 'Returns a delivery with its attempts')
  delivery(
    @Caller() caller: Principal,
    @Param('id') id: string,
    @Param('delivery') delivery: string,
  ): Promise<WebhookDeliveryObject> {
    return this.endpoints.delivery(caller, id, delivery);
  }

  @Post(':id/deliveries/:delivery/retry')
  @HttpCode(200)
  @RequireScope('project:admin')
  @ApiJsonResponse(WebhookDeliveryObject, 'Retries a delivery')
  retry(
    @Caller() caller: Principal,
    @Param('id') id: string,
    @Param('delivery') delivery: string,
  ): Promise<WebhookDeliveryObject> {
    return this.endpoints.retry(caller, id, delivery);
  }
}

@ApiTags('webhooks')
@ApiBearerAuth()
@Controller('v1/webhook_event_types')
export class WebhookEventTypesController {
  @Get()
  @RequireScope('project:admin')
  @ApiJsonResponse(WebhookEventTypeList, 'Lists the event types of webhooks')
  list(): WebhookEventTypeList {
    return { object: 'list', data: WEBHOOK_EVENT_TYPES };
  }
}
